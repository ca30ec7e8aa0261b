"""Who a run is: everything that changes a result, so that equal runs share work and others cannot mix.

A hub name stands for a commit, so it is pinned to one before any worker loads it: all workers, on all
machines and all nights, then read the same files. A local folder has no commit; its content is hashed
instead, large files by their size and evenly spaced samples (a 10 GB model takes well under a second).
Samples can miss an edit of a few bytes inside a large file; retrained weights differ everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from xxhash import xxh3_128

from pipeline.demo import NAME, resolve
from pipeline.errors import CircuitSweepError, ModelError, TranscoderError
from pipeline.model import split_revision
from pipeline.sweep.config import AttributionConfig, SweepConfig
from pipeline.transcoders import HubReference
from pipeline.version import ENGINE_VERSION

WHOLE_BYTES = 16 << 20
"""Files up to this size are hashed whole."""

SAMPLES = 64
"""Places at which a larger file is read."""

SAMPLE_BYTES = 64 << 10
"""Bytes read at each of them."""

READ_SUFFIXES = {".json", ".yaml", ".yml", ".safetensors", ".npz", ".model", ".txt", ".jinja", ".py"}
"""Files that can change a result; cards and pictures cannot."""


@dataclass(frozen=True)
class Pinned:
    """A model or a dictionary, fixed to one content."""

    name: str
    """What a worker loads: `demo`, a local folder, or a hub name with its commit."""

    folder: Path | None
    """Where the files are on this machine; None on the hub."""

    fingerprint: dict[str, str]
    """The content's identity: one hash for a folder; hub repositories with their commits."""


def pin_model(name: str) -> Pinned:
    """Fix a model to the content it has now.

    Raises:
        ModelError: it cannot be found.

    """
    folder = _folder(name, "model")
    if folder is not None:
        return Pinned(name, folder, {"content": fingerprint(folder)})
    repository, revision = split_revision(name)
    if name.startswith((".", "/", "~")) or repository.count("/") > 1:
        raise ModelError(f"model {name!r} is no folder here and no hub name: check the path.")
    commit = _hub_snapshot(repository, revision, "config.json", ModelError).name
    return Pinned(f"{repository}@{commit}", None, {repository: commit})


def pin_transcoders(name: str) -> Pinned:
    """Fix a dictionary to the content it has now, and the files in other repositories that it names.

    Raises:
        TranscoderError: it cannot be found.

    """
    folder = _folder(name, "transcoders")
    if folder is not None:
        parts = _linked(folder / "config.yaml")
        return Pinned(name, folder, {"content": fingerprint(folder), **parts})
    if name.startswith((".", "/", "~")):
        raise TranscoderError(
            f"transcoders folder {name!r} does not exist or is not a folder: check the path."
        )
    reference = HubReference.parse(name)
    inside = "/".join(part for part in (reference.path, "config.yaml") if part)
    snapshot = _hub_snapshot(reference.repository, reference.revision, inside, TranscoderError)
    whole = "/".join(part for part in (reference.repository, reference.path) if part)
    parts = _linked(snapshot / inside)
    return Pinned(f"{whole}@{snapshot.name}", None, {whole: snapshot.name, **parts})


def identity(config: SweepConfig, model: Pinned, transcoders: Pinned) -> dict[str, Any]:
    """Return what a run's key is computed from, readable enough to show how two runs differ."""
    return {
        "engine": ENGINE_VERSION,
        "model": model.fingerprint,
        "transcoders": transcoders.fingerprint,
        "dtype": config.dtype,
        "attribution": _rules(config.attribution),
        "pruning": config.pruning.model_dump(mode="json"),
    }


def _rules(config: AttributionConfig) -> dict[str, Any]:
    """Return the rules of attribution without those that have no effect beside the others."""
    rules = config.model_dump(mode="json")
    if config.max_feature_nodes is None or config.tolerance is not None:
        # Batches are a cap's way of choosing; all features, or a tolerance's, are the same in any batches.
        del rules["batch_size"], rules["update_interval"]
    if config.targets.are_chosen:
        del rules["max_targets"], rules["target_probability"]
    if config.targets.column is not None:
        # What the column holds is part of each prompt's key; what it is called changes nothing.
        rules["targets"] = "of each prompt"
    return rules


def fingerprint(folder: Path) -> str:
    """Hash the names and contents of a folder's files."""
    digest = xxh3_128()
    paths = sorted(path for path in folder.rglob("*") if path.suffix in READ_SUFFIXES and path.is_file())
    for path in paths:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
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


def _folder(name: str, part: Literal["model", "transcoders"]) -> Path | None:
    if name == NAME:
        return Path(resolve(name, part))
    path = Path(name).expanduser()
    return path if path.is_dir() else None


def _linked(config: Path) -> dict[str, str]:
    """Return the identity of the files elsewhere that a dictionary's configuration names."""
    if not config.is_file():
        return {}
    try:
        entries = (yaml.safe_load(config.read_text()) or {}).get("transcoders") or []
    except (yaml.YAMLError, AttributeError):
        return {}  # the reader of the format says what is wrong with it
    linked: dict[str, str] = {}
    for entry in map(str, entries):
        if entry.startswith("hf://"):
            reference = HubReference.parse(entry)
            snapshot = _hub_snapshot(reference.repository, reference.revision, "config.*", TranscoderError)
            linked[reference.repository] = snapshot.name
        elif (config.parent / entry).is_file():
            digest = xxh3_128()
            _hash_content(config.parent / entry, digest)
            linked[entry] = f"xxh3-128:{digest.hexdigest()}"
    return linked


def _hub_snapshot(repository: str, revision: str | None, pattern: str, kind: type[CircuitSweepError]) -> Path:
    """Return the folder of the commit that a revision stands for now, holding only files of a pattern.

    The hub's cache names the folder after the commit. Offline it is the commit that was fetched last.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=[pattern]))
    except Exception as error:
        what = "model" if kind is ModelError else "transcoders"
        reason = str(error).strip().partition("\n")[0]
        raise kind(
            f"{what} {repository!r} is no folder here and could not be had from the Hugging Face hub "
            f"({type(error).__name__}: {reason}): check the name, the network, or log in if it is gated."
        ) from error
