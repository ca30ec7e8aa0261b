"""The files of transcoders, from a folder on this machine or on a store, or from the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.errors import TranscoderError
from pipeline.hub import (
    HubName,
    RemoteName,
    as_glob,
    before_pattern,
    fetch_file,
    fetch_snapshot,
    is_pattern,
    list_files,
    parse,
)
from pipeline.transcoders.selection import check_one_set, chosen_files, refuse_autoencoders

_WANTED = ("*.safetensors", "*.npz", "*config.yaml", "*config.json", "*cfg.json", "*manifest.json")
"""Files of a repository that belong to transcoders. A `*` matches folders too."""

_UNWANTED = ("*examples.safetensors",)
"""GemmaScope 2 keeps each layer's examples, three times as large as the layer, beside it."""

_DOWNLOADS = 8
"""Files fetched at a time."""


@dataclass(frozen=True)
class Found:
    """Where transcoders lie on this machine."""

    folder: Path
    """The set's folder, or the one in which a pattern begins."""

    layers: tuple[Path, ...] = ()
    """One file a layer, where the name was a pattern."""


def find(name: str) -> Found:
    """Return the local files of transcoders, fetched from a store or the Hub where the name is not a path.

    Raises:
        TranscoderError: the path does not exist, the store cannot be read, the Hub does not have (or give)
            the repository, or the name means several sets, or none.

    """
    if (remote := RemoteName.named(name)) is not None:
        return Found(remote.fetch())
    found = parse(name, "transcoders")
    if isinstance(found, Path):
        return _chosen(found) if is_pattern(name) else Found(found)
    refuse_autoencoders(found.without_revision)
    if is_pattern(found.path):
        return _fetch_chosen(found)
    prefix = f"{found.path}/" if found.path else ""
    listed = list_files(found)
    inside = [path.removeprefix(prefix) for path in listed or [] if path.startswith(prefix)]
    if "config.yaml" not in inside:  # which says of itself what belongs to the set
        check_one_set(inside, found.without_revision)
    snapshot = fetch_snapshot(found, "transcoders", [f"{prefix}{pattern}" for pattern in _WANTED], _UNWANTED)
    if not (snapshot / found.path).is_dir():
        raise TranscoderError(
            f"the Hub's repository {found.repository!r} has no folder {found.path!r} with transcoders in it: "
            "check the name."
        )
    return Found(snapshot / found.path)


def _chosen(pattern: Path) -> Found:
    """Return the files on this machine that a path with a pattern in it chooses."""
    base = Path(before_pattern(str(pattern)))
    paths = [path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file()]
    chosen = chosen_files(paths, pattern.relative_to(base).as_posix(), str(base))
    return Found(base, tuple(base / path for path in chosen))


def _fetch_chosen(name: HubName) -> Found:
    """Return the files of a repository that a pattern chooses; only they are fetched."""
    paths = list_files(name)
    if paths is None:  # offline: of what was fetched before
        snapshot = fetch_snapshot(
            name, "transcoders", [as_glob(name.path), f"{as_glob(name.path)}/*"], _UNWANTED
        )
        paths = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]
    chosen = chosen_files(paths, name.path, name.repository)
    folders = {str(PurePosixPath(path).parent) for path in chosen}
    beside = [path for path in paths if path.endswith(".json") and str(PurePosixPath(path).parent) in folders]
    snapshot = fetch_snapshot(name, "transcoders", [*chosen, *beside])
    return Found(snapshot / before_pattern(name.path), tuple(snapshot / path for path in chosen))


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
    name = HubName.parse(entry, "transcoders")
    refuse_autoencoders(name.without_revision)
    return fetch_file(name.pinned(commits), "transcoders")
