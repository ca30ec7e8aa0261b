"""Fix a model or transcoders to one content, so that all workers, on all machines and nights, read the same.

A name on the Hub stands for a commit and is pinned to it. A folder here or on a store has no commit; its
content is hashed instead (`contents`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from pipeline.hub.contents import file_fingerprint, fingerprint
from pipeline.hub.download import fetch_snapshot
from pipeline.hub.names import HubName, Kind, parse
from pipeline.hub.neurons import Neurons
from pipeline.hub.remote import RemoteName
from pipeline.untrusted import YAML_BYTES, parse_yaml, read_bounded

CONFIGURATIONS: dict[Kind, str] = {"model": "config.json", "transcoders": "config.yaml"}


@dataclass(frozen=True)
class Pinned:
    """A model or transcoders, fixed to one content."""

    name: str
    """Name that a worker loads: a folder, a URL with its content's hash, a name on the Hub with a commit."""

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
        name: a folder, a name on the Hub, or of transcoders the URL of a folder on a store.
        kind: of thing that it names.
        commits: where repositories that transcoders list are pinned already, as in `Pinned.listed_commits`;
            others are pinned to their commits of now.

    Raises:
        ModelError, TranscoderError: it cannot be found.

    """
    if kind == "transcoders" and Neurons.named(name) is not None:
        return Pinned(name, None, {"content": name})  # the model's fingerprint says the rest
    remote = RemoteName.named(name) if kind == "transcoders" else None
    found = parse(name, kind) if remote is None else remote.fetch()
    if isinstance(found, Path):
        config = found / CONFIGURATIONS[kind]
        listed = _local_files(config) | _hub_commits(config, commits or {}) if kind == "transcoders" else {}
        content = fingerprint(found)
        return Pinned(
            name if remote is None else remote.pinned(content), found, {"content": content, **listed}
        )
    inside = "/".join(part for part in (found.path, CONFIGURATIONS[kind]) if part)
    snapshot = fetch_snapshot(found, kind, [inside])
    # The set's own files need no hash: its commit fixes them, fetched or not.
    listed = _hub_commits(snapshot / inside, commits or {}) if kind == "transcoders" else {}
    whole, commit = found.without_revision, snapshot.name
    return Pinned(f"{whole}@{commit}", None, {whole: commit, **listed})


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
            hashes[entry] = file_fingerprint(config.parent / entry)
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
