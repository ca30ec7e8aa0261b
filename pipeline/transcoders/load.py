"""Find transcoders by name and read them with the reader of their format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pipeline.transcoders import source
from pipeline.transcoders.formats import read_files, read_folder
from pipeline.transcoders.transcoders import Transcoders
from pipeline.transcoders.weights import StoredEncoder


def load_transcoders(
    name: str, lazy_encoder: bool = False, commits: Mapping[str, str] | None = None
) -> Transcoders:
    """Load transcoders from a folder, or by a name on the Hub: `org/name[/folder][@revision]`.

    Either may choose one set among several by a pattern: `{layer}` is a layer's number, `*` any text.

    Args:
        name: the folder or the name.
        lazy_encoder: leave encoders in their files too, and read them in blocks for every prompt: slower, and
            then no part of them need fit the device.
        commits: those at which listed files of other repositories are read (`Pinned.listed_commits`); by
            default each is read at the revision that is listed.

    Raises:
        TranscoderError: they cannot be found, or their files are incomplete, corrupt or of unknown kind.

    """
    found = source.find(name)
    if found.layers:
        transcoders = read_files(found.layers, name)
    else:
        transcoders = read_folder(found.folder, name, commits or {})
    return transcoders if lazy_encoder else hold_encoders(transcoders)


def hold_encoders(transcoders: Transcoders) -> Transcoders:
    """Return transcoders whose encoders are tensors, memory-mapped until they are moved."""
    layers = (
        replace(layer, encoder=layer.encoder.whole()) if isinstance(layer.encoder, StoredEncoder) else layer
        for layer in transcoders.layers
    )
    return replace(transcoders, layers=tuple(layers))
