"""The files of transcoders, from a folder on this machine or from the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.errors import TranscoderError
from pipeline.hub import HubName, fetch_file, fetch_snapshot, parse

_WANTED = ("*.safetensors", "*.npz", "*config.yaml", "*config.json", "*cfg.json")
"""Files of a repository that belong to transcoders. A `*` matches folders too."""

_UNWANTED = ("*examples.safetensors",)
"""GemmaScope 2 keeps each layer's examples, three times as large as the layer, beside it."""

_DOWNLOADS = 8
"""Files fetched at a time."""


def folder(name: str) -> Path:
    """Return the local folder of transcoders, fetched from the Hub where the name is not a path.

    Raises:
        TranscoderError: the path does not exist, or the Hub does not have (or give) the repository.

    """
    found = parse(name, "transcoders")
    if isinstance(found, Path):
        return found
    prefix = f"{found.path}/" if found.path else ""
    snapshot = fetch_snapshot(found, "transcoders", [f"{prefix}{pattern}" for pattern in _WANTED], _UNWANTED)
    if not (snapshot / found.path).is_dir():
        raise TranscoderError(
            f"the Hub's repository {found.repository!r} has no folder {found.path!r} with transcoders in it: "
            "check the name."
        )
    return snapshot / found.path


def files(entries: list[str], base: Path, commits: Mapping[str, str]) -> list[Path]:
    """Return the local paths of the files that a configuration lists, relative to it or as `hf://`.

    Args:
        entries: as listed.
        base: folder of the configuration.
        commits: those that repositories are pinned to, by `HubName.repository_url`.

    Raises:
        TranscoderError: a reference is malformed, or the Hub does not have (or give) its file.

    """
    with ThreadPoolExecutor(_DOWNLOADS) as downloads:
        return list(downloads.map(lambda entry: _file(entry, base, commits), entries))


def _file(entry: str, base: Path, commits: Mapping[str, str]) -> Path:
    if not entry.startswith("hf://"):
        return base / entry
    return fetch_file(HubName.parse(entry, "transcoders").pinned(commits), "transcoders")
