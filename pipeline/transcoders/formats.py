"""The file formats of dictionaries that are read, each by its own reader; and the table of them.

A folder's format is known by what it holds. The order matters where a folder fits two: a
`config.yaml` that lists files decides before the files do.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import TranscoderError
from pipeline.transcoders import (
    circuit_tracer,
    crosslayer_transcoder,
    gemma_scope,
    gemma_scope_2,
    sae_lens,
    sparsify,
)
from pipeline.transcoders.file_format import FileFormat

FORMATS: tuple[FileFormat, ...] = (
    circuit_tracer.FORMAT,
    crosslayer_transcoder.FORMAT,
    gemma_scope.FORMAT,
    gemma_scope_2.FORMAT,
    sae_lens.FORMAT,
    sparsify.FORMAT,
)


def format_of(folder: Path) -> FileFormat:
    """Return the format that a folder is in.

    Raises:
        TranscoderError: it is in none that is known.

    """
    for candidate in FORMATS:
        if candidate.matches(folder):
            return candidate
    looked_for = "; ".join(f"{known.name}: {known.files}" for known in FORMATS)
    raise TranscoderError(f"{folder} holds no dictionary in a format that is known. Looked for {looked_for}.")


def table() -> str:
    """Return the table of formats in Markdown."""
    rows = [
        ("Format", "What the folder holds", "Kinds", "Activations", "Published sets"),
        ("---",) * 5,
        *((known.name, known.files, known.kinds, known.activations, known.published) for known in FORMATS),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
