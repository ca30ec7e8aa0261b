"""What a person runs: one module per command, each with a `main(argv) -> exit code`."""
