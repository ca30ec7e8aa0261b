"""Dispatch `circuit-sweep COMMAND ...` to the module of that name in this folder.

Commands are found by listing the folder and described by the first line of their docstring, read
without importing them: `circuit-sweep --help` must not wait for torch or Ray.
"""

from __future__ import annotations

import ast
import difflib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Command = Callable[[list[str] | None], int]

PROGRAM = "circuit-sweep"
"""Name of the console script."""

BAD_INPUT = 2
"""Exit code of a command that could not start because of what it was given."""

INTERRUPTED = 130
"""Exit code of a command that the user ended with Ctrl-C, as shells have it."""


def commands() -> dict[str, str]:
    """Return every command's name with its one-line description."""
    files = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    return {path.stem.replace("_", "-"): _first_line(path) for path in files if path.stem != "cli"}


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return docstring.partition("\n")[0]


def usage() -> str:
    """Return the page that `--help` prints."""
    lines = [f"  {name:<12} {line}" for name, line in commands().items()]
    return "\n".join(
        [
            "usage: circuit-sweep COMMAND [OPTIONS]",
            "",
            "Turns a dataset of prompts into a queryable database of attribution graphs.",
            "",
            "commands:",
            *lines,
            "",
            "`circuit-sweep COMMAND --help` describes one command; each is also `python -m jobs.COMMAND`.",
        ]
    )


def run_command(command: Command, argv: list[str] | None = None) -> int:
    """Run one command and return its exit code, to be exited with."""
    code = _run_command(command, argv)
    if code == INTERRUPTED:
        # All that is left is Python's own end, in which one more Ctrl-C would print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


def _run_command(command: Command, argv: list[str] | None) -> int:
    """Run one command; a user's mistake is printed without a traceback."""
    from pipeline.errors import CircuitSweepError

    # Torch's threads wait by spinning; where anything else needs a core that costs tens of times the work.
    # They sleep, after some 10 us in which the next of many small products mostly comes.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        return command(argv)
    except CircuitSweepError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        # Commands that leave something unfinished catch this themselves and say what to do.
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`| head`); closing stderr too keeps Python from complaining at exit.
        sys.stderr.close()
        return 0


def _package_version() -> str:
    try:
        return version(PROGRAM)
    except PackageNotFoundError:
        return "(run from its sources, not installed)"


def program() -> str:
    """Return what a user types in this folder to start this program again."""
    script = Path(sys.argv[0]).absolute()
    if script.stem != PROGRAM:
        return f"{shlex.quote(sys.executable)} -m jobs.cli"
    found = shutil.which(PROGRAM)
    if found and Path(found).exists() and script.exists() and Path(found).samefile(script):
        return PROGRAM
    here = Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))


def main(argv: list[str] | None = None) -> int:
    """Entry point of the `circuit-sweep` console script."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else BAD_INPUT
    if arguments[0] == "--version":
        print(f"{PROGRAM} {_package_version()}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in commands():
        close = difflib.get_close_matches(name, commands(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "`circuit-sweep --help` lists the commands."
        print(f"error: {name!r} is not a command: {hint}", file=sys.stderr)
        return BAD_INPUT
    return run_command(lambda argv: import_module(f"jobs.{name.replace('-', '_')}").main(argv), rest)


if __name__ == "__main__":
    sys.exit(main())
