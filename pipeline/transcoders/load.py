"""Find a dictionary by name and read it with the reader of its format."""

from __future__ import annotations

from pipeline.transcoders import circuit_tracer, source
from pipeline.transcoders.transcoders import Transcoders


def load_transcoders(name: str) -> Transcoders:
    """Load a dictionary from a local folder or a hub name `org/repo[/subfolder][@revision]`.

    Raises:
        TranscoderError: it cannot be found, or its files are incomplete, corrupt or of unknown kind.

    """
    return circuit_tracer.read(source.folder(name), name)
