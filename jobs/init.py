"""Write a sweep file to start from, with every key explained.

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


def main(argv: list[str] | None = None) -> int:
    """Write the file and return 0."""
    file = parse(Arguments, argv, "init", __doc__).file
    from pipeline.sweep import template

    text = template(str(file), f"runs/{file.stem}")
    try:
        with file.open("x") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise ConfigurationError(f"{file} exists, and is left alone: name another file.") from error
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}.") from error
    print(f"{file}: replace `demo` by your model, transcoders and prompts, then\n")
    print(f"  {program()} plan {quote(str(file))}\n  {program()} run {quote(str(file))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
