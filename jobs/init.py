"""Write a sweep file, or a dictionary's, to start from, with every key explained.

It runs unchanged, on the built-in model and prompts: replace three names to trace your own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated

import tyro

from jobs._command_line import parse
from jobs.cli import program, run_command
from pipeline.errors import ConfigurationError


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")] = Path("sweep.yaml")
    """File to write, which must not exist yet."""

    dictionary: bool = False
    """Write the file of a dictionary to train, for `circuit-sweep train`."""


def main(argv: list[str] | None = None) -> int:
    """Write the file and return 0."""
    arguments = parse(Arguments, argv, "init", __doc__)
    file = arguments.file
    if arguments.dictionary:
        from pipeline.training import template

        text, verb, names = template(str(file), f"dictionaries/{file.stem}"), "train", "model and text"
    else:
        from pipeline.sweep import template

        text, verb = template(str(file), f"runs/{file.stem}"), "run"
        names = "model, transcoders and prompts"
    try:
        with file.open("x") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise ConfigurationError(f"{file} exists, and is left alone: name another file.") from error
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}.") from error
    print(f"{file}: replace `demo` by your {names}, then\n")
    print(f"  {program()} plan {quote(str(file))}\n  {program()} {verb} {quote(str(file))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
