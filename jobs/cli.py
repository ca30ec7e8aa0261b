"""Dispatch `circuit-sweep COMMAND ...` to the module of that name in this folder.

Commands are the files of this folder whose names begin with a letter, described by the first line of their
docstring, which is read without importing them: `circuit-sweep --help` must not wait for torch or Ray.
"""

from __future__ import annotations

import ast
import difflib
import logging
import os
import shlex
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

Command = Callable[[list[str] | None], int]

PROGRAM = "circuit-sweep"
"""Name of the console script."""

BAD_INPUT = 2
"""Exit code of a command that could not start because of what it was given."""

INTERRUPTED = 130
"""Exit code of a command that the user ended with Ctrl-C, as shells have it."""

NOBODY_READS = 141
"""Exit code of a command whose reader went away (`| head`): 128 + SIGPIPE, as shells have it."""

GROUPS = {
    "sweep": ("init", "plan", "run", "submit", "status"),
    "ask": ("view", "show", "query", "schema", "notes", "label", "export"),
    "understand": ("validate", "test", "pairs", "aggregate", "discover", "diff", "compare", "audit", "steer"),
    "keep": ("compact", "verify"),
    "dictionaries": ("train", "check", "convert"),
    "measure and make": ("bench", "train-demo", "train-english"),
    "shell": ("completion",),
}
"""Commands by use, as `--help` lists them. A command that is in no group is listed under `other`."""

NAME_WIDTH = 15
"""Characters of the longest command's name, and two."""


def commands() -> dict[str, str]:
    """Return every command's name with its one-line description."""
    files = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    return {path.stem.replace("_", "-"): _first_line(path) for path in files if path.stem != "cli"}


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return docstring.partition("\n")[0]


def usage() -> str:
    """Return the page that `--help` prints."""
    lines = [
        "usage: circuit-sweep COMMAND [OPTIONS]",
        "",
        "Turns a dataset of prompts into a queryable database of attribution graphs.",
    ]
    described = commands()
    for group, names in _grouped(tuple(described)):
        lines += ["", f"{group}:"]
        for name in names:
            lines += _entry(name, described[name])
    return "\n".join(
        [
            *lines,
            "",
            "`circuit-sweep COMMAND --help` describes one command; each is also `python -m jobs.COMMAND`.",
            "`circuit-sweep --version` prints the version.",
        ]
    )


def _grouped(names: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield from GROUPS.items()
    grouped = {name for group in GROUPS.values() for name in group}
    if others := tuple(name for name in names if name not in grouped):
        yield "other", others


def _entry(name: str, description: str) -> list[str]:
    """Return the lines of one command, wrapped to the terminal's width."""
    indent = " " * (NAME_WIDTH + 3)
    width = max(40, shutil.get_terminal_size().columns - 1)
    lead = f"  {name:<{NAME_WIDTH}} "
    return textwrap.wrap(description, width, initial_indent=lead, subsequent_indent=indent)


def run_command(command: Command, argv: list[str] | None = None) -> int:
    """Run one command and return its exit code, to be exited with."""
    if sys.platform == "win32":
        # Hard links, signals and Ray's sockets are used as Linux and macOS have them.
        print(f"error: {PROGRAM} runs on Linux and macOS: on Windows, use it inside WSL.", file=sys.stderr)
        return BAD_INPUT
    try:
        code = _run_command(command, argv)
        # What is still in the buffer would otherwise be written when Python ends, where nothing catches it.
        sys.stdout.flush()
    except BrokenPipeError:
        code = _nobody_reads()
    except SystemExit as end:
        # Rich ends the process itself where it finds the pipe broken.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        code = _nobody_reads()
    if code == INTERRUPTED:
        # All that is left is Python's own end, in which one more Ctrl-C would print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


def _nobody_reads() -> int:
    """Send what is still to be printed nowhere, so that Python does not complain when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return NOBODY_READS


def _run_command(command: Command, argv: list[str] | None) -> int:
    """Run one command; a user's mistake is printed without a traceback."""
    from pipeline.errors import CircuitSweepError
    from pipeline.untrusted import PrintableFormatter, printable

    if logging.lastResort is not None:  # what shows warnings where nobody set up anything else
        logging.lastResort.setFormatter(PrintableFormatter())
    # Torch's threads wait by spinning; where anything else needs a core that costs tens of times the work.
    # They sleep, after some 10 us in which the next of many small products mostly comes.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        return command(argv)
    except CircuitSweepError as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        # Commands that leave something unfinished catch this themselves and say what to do.
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


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
    return run_command(_dispatch, arguments)


def _dispatch(arguments: list[str] | None) -> int:
    name, *rest = arguments or [""]
    if name in ("", "-h", "--help", "help"):
        print(usage())
        return 0 if name else BAD_INPUT
    if name == "--version":
        print(f"{PROGRAM} {_package_version()}")
        return 0
    if name not in commands():
        close = difflib.get_close_matches(name, commands(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "`circuit-sweep --help` lists the commands."
        print(f"error: {name!r} is not a command: {hint}", file=sys.stderr)
        return BAD_INPUT
    return module_of(name).main(rest)


def module_of(command: str) -> ModuleType:
    """Import and return the module of a command."""
    return import_module(f"jobs.{command.replace('-', '_')}")


if __name__ == "__main__":
    sys.exit(main())
