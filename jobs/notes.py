"""Export the notes beside a sweep's tables (labels, groups, views, runs), or import them, or others' labels.

They are for sharing: features are named by layer and index, so labels fit every sweep with the same
dictionary. Import adds; notes that are there already, word for word, are not written twice. Besides what
`export` wrote it reads labels from Parquet and JSON lines (columns `layer`, `feature`, `label`, and where you
have them `score` and `source`) and from Neuronpedia's exports.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jobs._command_line import parse
from jobs._tables import writable
from jobs.cli import run_command

if TYPE_CHECKING:
    from pipeline.store import Output

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
    """The notes, as JSON; to import also labels as .parquet, .jsonl, .jsonl.gz."""

    source: str | None = None
    """With labels of others: their origin, to be shown with them (default: what the file says of each, or its
    name)."""


def main(argv: list[str] | None = None) -> int:
    """Export or import, and return 0."""
    arguments = parse(Arguments, argv, "notes", __doc__)

    from pipeline.store import Output, exported_notes

    output = Output(arguments.output)
    output.claimed()
    if arguments.action == "export":
        notes = exported_notes(output.folder)
        with writable(arguments.file):
            arguments.file.write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
        print(f"{len(notes):,} notes exported to {arguments.file}")
        return 0
    written = _import(arguments, output)
    print(f"{written:,} notes imported into {output.url}")
    return 0


def _import(arguments: Arguments, output: Output) -> int:
    """Import a file and return the number of its notes."""
    from pipeline.errors import ConfigurationError
    from pipeline.labels import is_note_file, new_labels, read_label_file
    from pipeline.store import current_notes, import_notes, read_notes, write_notes
    from pipeline.untrusted import parse_json, read_bounded

    if arguments.file.suffix == ".json":
        try:
            values = parse_json(read_bounded(arguments.file, NOTES_BYTES))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{arguments.file} cannot be read: {error}.") from error
        if is_note_file(values):
            return len(list(import_notes(output.folder, values)))
    current = current_notes(read_notes(output.folder))
    notes = new_labels(current, read_label_file(arguments.file, arguments.source))
    return len(write_notes(output.folder, notes))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
