"""Fix a model or transcoders to one content, so that all workers, on all machines and nights, read the same.

A name on the Hub stands for a commit and is pinned to it. A local folder has no commit; its content is hashed
instead, large files by their size and evenly spaced samples (a 10 GB model takes well under a second).
Samples can miss an edit of a few bytes inside a large file; retrained weights differ everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from xxhash import xxh3_128

from pipeline.hub.download import fetch_snapshot
from pipeline.hub.names import HubName, Kind, as_glob, before_pattern, is_pattern, parse
from pipeline.hub.neurons import Neurons
from pipeline.untrusted import YAML_BYTES, parse_yaml, read_bounded

WHOLE_BYTES = 16 << 20
"""Files up to this size are hashed whole."""

SAMPLES = 64
"""Parts of a larger file that are hashed."""

SAMPLE_BYTES = 64 << 10
"""Bytes in each of them."""

READ_SUFFIXES = {
    *(".json", ".yaml", ".yml", ".safetensors", ".npz", ".py"),
    *(".model", ".txt", ".jinja", ".tiktoken", ".bpe", ".vocab"),  # tokenizers
}
"""Files that can change a result; cards and pictures cannot."""

CONFIGURATIONS: dict[Kind, str] = {"model": "config.json", "transcoders": "config.yaml"}


@dataclass(frozen=True)
class Pinned:
    """A model or transcoders, fixed to one content."""

    name: str
    """Name that a worker loads: a folder, or a name on the Hub with its commit."""

    folder: Path | None
    """Folder with the files on this machine; None on the Hub."""

    fingerprint: dict[str, str] = field(hash=False)  # so that what was pinned can be a cache's key
    """The content's identity: one hash for a folder; repositories on the Hub with their commits."""

    @property
    def listed_commits(self) -> dict[str, str]:
        """Commits of the repositories that transcoders list files of, by `HubName.repository_url`."""
        return {key: commit for key, commit in self.fingerprint.items() if key.startswith("hf://")}


def pin(name: str, kind: Kind, commits: Mapping[str, str] | None = None) -> Pinned:
    """Fix a name to the content that it has now; transcoders with the files elsewhere that they list.

    Args:
        name: a folder, or a name on the Hub.
        kind: of thing that it names.
        commits: where repositories that transcoders list are pinned already, as in `Pinned.listed_commits`;
            others are pinned to their commits of now.

    Raises:
        ModelError, TranscoderError: it cannot be found.

    """
    if kind == "transcoders" and Neurons.named(name) is not None:
        return Pinned(name, None, {"content": name})  # the model's fingerprint says the rest
    found = parse(name, kind)
    if isinstance(found, Path):
        config = found / CONFIGURATIONS[kind]
        listed = _local_files(config) | _hub_commits(config, commits or {}) if kind == "transcoders" else {}
        return Pinned(name, found, {"content": fingerprint(found), **listed})
    inside = "/".join(part for part in (found.path, CONFIGURATIONS[kind]) if part)
    snapshot = fetch_snapshot(found, kind, [inside])
    # The set's own files need no hash: its commit fixes them, fetched or not.
    listed = _hub_commits(snapshot / inside, commits or {}) if kind == "transcoders" else {}
    whole, commit = found.without_revision, snapshot.name
    return Pinned(f"{whole}@{commit}", None, {whole: commit, **listed})


def read_files(folder: Path) -> list[Path]:
    """Return the files of a model's or dictionary's folder that are read; none with a hidden name.

    Of a pattern (`is_pattern`) it is the files that fit, and the configurations beside them.
    """
    base = Path(before_pattern(str(folder)))
    return sorted(
        path
        for path in (_fitting(folder, base) if is_pattern(str(folder)) else folder.rglob("*"))
        if path.suffix in READ_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(base).parts)
        and path.is_file()
    )


def _fitting(pattern: Path, base: Path) -> set[Path]:
    found: set[Path] = set()
    for match in base.glob(as_glob(pattern.relative_to(base).as_posix())):
        found.update(match.rglob("*") if match.is_dir() else [match, *match.parent.glob("*.json")])
    return found


def fingerprint(folder: Path) -> str:
    """Hash the names and contents of a folder's files; of a pattern's, those that `read_files` says."""
    digest, base = xxh3_128(), Path(before_pattern(str(folder)))
    for path in read_files(folder):
        digest.update(f"{path.relative_to(base).as_posix()}\0{path.stat().st_size}\0".encode())
        _hash_content(path, digest)
    return f"xxh3-128:{digest.hexdigest()}"


def _hash_content(path: Path, digest: xxh3_128) -> None:
    size = path.stat().st_size
    with path.open("rb") as opened:
        if size <= WHOLE_BYTES:
            digest.update(opened.read())
            return
        for i in range(SAMPLES):
            opened.seek(i * (size - SAMPLE_BYTES) // (SAMPLES - 1))
            digest.update(opened.read(SAMPLE_BYTES))


def _listed(config: Path) -> list[str]:
    """Return the files that a configuration of transcoders lists."""
    if not config.is_file():
        return []
    try:
        values, _ = parse_yaml(read_bounded(config, YAML_BYTES))
        entries = values.get("transcoders") or []
        entries = [entry.get("filepath") if isinstance(entry, dict) else entry for entry in entries]
        return entries if all(isinstance(entry, str) for entry in entries) else []
    except (yaml.YAMLError, AttributeError, TypeError, OSError):
        return []  # the reader of the format says what is wrong with it


def _local_files(config: Path) -> dict[str, str]:
    """Return the hashes of the listed files on this machine."""
    hashes: dict[str, str] = {}
    for entry in _listed(config):
        if not entry.startswith("hf://") and (config.parent / entry).is_file():
            digest = xxh3_128()
            _hash_content(config.parent / entry, digest)
            hashes[entry] = f"xxh3-128:{digest.hexdigest()}"
    return hashes


def _hub_commits(config: Path, commits: Mapping[str, str]) -> dict[str, str]:
    """Return the commits of the repositories whose files are listed: those given, or else those of now."""
    found: dict[str, str] = {}
    for entry in _listed(config):
        if not entry.startswith("hf://"):
            continue
        name = HubName.parse(entry, "transcoders")
        # One repository may be listed at several revisions, and each is a commit of its own.
        url = name.repository_url
        if url not in found:
            found[url] = commits.get(url) or fetch_snapshot(name, "transcoders", ["config.*"]).name
    return found
