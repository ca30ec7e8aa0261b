"""Files of other formats, refused by the name of the version that wrote them, not taken for damaged."""

from __future__ import annotations

from pipeline.errors import StoreError
from pipeline.store.files import DataFolder
from pipeline.untrusted import parse_json

WRITERS = {1: "0.1"}
"""The version of Circuit Sweep that wrote each earlier format."""


def refuse_other_formats(folder: DataFolder, name: str, data: bytes, ours: int, unnamed: int) -> None:
    """Say which version reads a JSON file, before anything else in it is judged.

    Args:
        folder: the output.
        name: the file.
        data: its content; what is no JSON passes, for the caller to call it damaged.
        ours: the format that this version reads.
        unnamed: the format of a file that names none.

    Raises:
        StoreError: it is of another format.

    """
    try:
        stored = parse_json(data)
    except ValueError:
        return
    found = stored.get("format", unnamed) if isinstance(stored, dict) else ours
    if found != ours:
        known = isinstance(found, int) and found in WRITERS
        writer = f"Circuit Sweep {WRITERS[found]}" if known else "a later version of Circuit Sweep"
        raise StoreError(
            f"{folder.url}/{name} was written by {writer}: it is of format {found}, and this version reads "
            f"format {ours}. Read the output with the version that wrote it, or sweep again into another one."
        )
