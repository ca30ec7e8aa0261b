"""Where a dictionary's files come from: a local folder, or a repository on the Hugging Face hub.

Names are `path/to/folder`, `org/repo`, `org/repo/subfolder`, each with an optional `@revision`; a
file inside a configuration may also be `hf://org/repo/file?revision=`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlparse

from pipeline.errors import TranscoderError

_WANTED = ("*.safetensors", "*.npz", "*config.yaml", "*config.json", "*cfg.json")
"""Files of a repository that belong to a dictionary. A `*` matches folders too."""

_UNWANTED = ["*examples.safetensors"]
"""GemmaScope 2 keeps each layer's examples, three times as large as the layer, beside it."""

_DOWNLOADS = 8
"""Files fetched at a time."""


@dataclass(frozen=True)
class HubReference:
    """A place on the hub."""

    repository: str
    """`org/name`."""

    path: str = ""
    """File or folder inside the repository."""

    revision: str | None = None
    """Branch, tag or commit."""

    @classmethod
    def parse(cls, text: str) -> HubReference:
        """Read `org/repo[/path][@revision]` or `hf://org/repo/path[?revision=]`."""
        revision = None
        if text.startswith("hf://"):
            url = urlparse(text)
            revision = parse_qs(url.query).get("revision", [None])[0]
            text = f"{url.netloc}{url.path}"
        elif "@" in text:
            text, revision = text.split("@", 1)
        parts = text.strip("/").split("/")
        if len(parts) < 2 or not all(parts):
            raise TranscoderError(
                f"{text!r} is neither a folder that exists nor a hub name: write org/name, or check the path."
            )
        return cls("/".join(parts[:2]), "/".join(parts[2:]), revision)


def folder(name: str) -> Path:
    """Return the local folder of a dictionary, downloading it from the hub where it is not a path.

    Raises:
        TranscoderError: the path does not exist, or the hub does not have (or give) the repository.

    """
    local = Path(name).expanduser()
    if local.is_dir():
        return local
    if local.is_absolute() or name.startswith((".", "~")) or local.exists():
        raise TranscoderError(
            f"transcoders folder {name!r} does not exist or is not a folder: check the path."
        )
    reference = HubReference.parse(name)
    prefix = f"{reference.path}/" if reference.path else ""
    found = _download_snapshot(reference, [f"{prefix}{pattern}" for pattern in _WANTED]) / reference.path
    if not found.is_dir():
        raise TranscoderError(
            f"the hub's repository {reference.repository!r} has no folder {reference.path!r} with a "
            "dictionary in it: check the name."
        )
    return found


def files(entries: list[str], base: Path) -> list[Path]:
    """Return the local paths of the files that a configuration names: relative to it, or `hf://`.

    Raises:
        TranscoderError: a reference is malformed, or the hub does not have (or give) its file.

    """
    with ThreadPoolExecutor(_DOWNLOADS) as downloads:
        return list(downloads.map(lambda entry: _file(entry, base), entries))


def _file(entry: str, base: Path) -> Path:
    if not entry.startswith("hf://"):
        return base / entry
    from huggingface_hub import hf_hub_download

    reference = HubReference.parse(entry)
    if not reference.path:
        raise TranscoderError(
            f"{entry!r} names a repository, but must name a file in it: hf://org/name/file."
        )
    try:
        return Path(hf_hub_download(reference.repository, reference.path, revision=reference.revision))
    except Exception as error:
        raise _hub_error(entry, error) from error


def _download_snapshot(reference: HubReference, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                reference.repository,
                revision=reference.revision,
                allow_patterns=patterns,
                ignore_patterns=_UNWANTED,
            )
        )
    except Exception as error:
        raise _hub_error(reference.repository, error) from error


def _hub_error(name: str, error: Exception) -> TranscoderError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return TranscoderError(
        f"transcoders {name!r} are no local folder and could not be had from the Hugging Face hub "
        f"({type(error).__name__}: {reason}): check the name, the network, or log in for a gated repository."
    )
