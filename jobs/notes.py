"""Export or import the labels, groups, views and saved runs that people wrote beside a sweep's tables.

They are for sharing: features are named by layer and index, so labels fit every sweep with the same
dictionary. Import adds; notes that are there already, word for word, are not written twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jobs._command_line import parse
from jobs._tables import writable
from jobs.cli import run_command

NOTES_BYTES = 256 << 20
"""Largest file that is imported."""


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    output: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep: a folder or an `s3://` URL."""

    action: Annotated[Literal["export", "import"], tyro.conf.Positional]
    """`export` writes the file, `import` reads it."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The notes, as JSON."""


def main(argv: list[str] | None = None) -> int:
    """Export or import, and return 0."""
    arguments = parse(Arguments, argv, "notes", __doc__)

    from pipeline.errors import ConfigurationError
    from pipeline.store import Output, exported_notes, import_notes
    from pipeline.untrusted import parse_json, read_bounded

    output = Output(arguments.output)
    output.claimed()
    if arguments.action == "export":
        notes = exported_notes(output.folder)
        with writable(arguments.file):
            arguments.file.write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
        print(f"{len(notes):,} notes exported to {arguments.file}")
        return 0
    try:
        values = parse_json(read_bounded(arguments.file, NOTES_BYTES))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{arguments.file} cannot be read: {error}.") from error
    if not isinstance(values, list):
        raise ConfigurationError(f"{arguments.file} is no list of notes: give a file of `notes ... export`.")
    written = list(import_notes(output.folder, values))
    print(f"{len(written):,} notes imported into {output.url}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
