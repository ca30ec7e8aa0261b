"""Read a name: is it a folder, or which repository, folder and revision on the Hub does it mean?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlparse

from pipeline.errors import CircuitSweepError, ModelError, TranscoderError

Kind = Literal["model", "transcoders"]

LAYER = "{layer}"
"""Stands for a layer's number in the name of transcoders."""

ERRORS: dict[Kind, type[CircuitSweepError]] = {"model": ModelError, "transcoders": TranscoderError}
"""The class of what goes wrong with a name of each kind."""


@dataclass(frozen=True)
class HubName:
    """A repository on the Hub, or a file or folder in one."""

    repository: str
    """`org/name`; of some old models only `name`."""

    path: str = ""
    """File or folder inside the repository."""

    revision: str | None = None
    """Branch, tag or commit; by default `main`."""

    @classmethod
    def parse(cls, text: str, kind: Kind) -> HubName:
        """Read `org/name[/path][@revision]` or `hf://org/name/path[?revision=]`.

        Raises:
            ModelError, TranscoderError: it is neither.

        """
        name, revision = text, None
        if text.startswith("hf://"):
            url = urlparse(text)
            name, revision = f"{url.netloc}{url.path}", parse_qs(url.query).get("revision", [None])[0]
        elif "@" in text:
            name, revision = text.split("@", 1)
        parts = name.strip("/").split("/")
        # A model is a whole repository, and the oldest ones (gpt2) have no organisation.
        if (
            not all(parts)
            or is_pattern("/".join(parts[:2]))
            or (len(parts) > 2 if kind == "model" else len(parts) < 2)
        ):
            raise ERRORS[kind](
                f"{kind} {text!r} not found: neither a folder here nor a name on the Hub, which is "
                "org/name or org/name@revision: check the path."
            )
        return cls("/".join(parts[:2]), "/".join(parts[2:]), revision)

    @property
    def without_revision(self) -> str:
        """`org/name`, with the path in it."""
        return f"{self.repository}/{self.path}" if self.path else self.repository

    @property
    def repository_url(self) -> str:
        """`hf://org/name`, with `?revision=` where one is asked for: what stands for one commit at a time."""
        return f"hf://{self.repository}" + (f"?revision={self.revision}" if self.revision else "")

    def pinned(self, commits: Mapping[str, str]) -> HubName:
        """Return the name at the commit that its `repository_url` is pinned to, or as it is if it is not."""
        return replace(self, revision=commits.get(self.repository_url, self.revision))


def is_pattern(name: str) -> bool:
    """Tell if the name of transcoders chooses one file or folder a layer, by `{layer}` or `*`."""
    return LAYER in name or "*" in name


def before_pattern(path: str) -> str:
    """Return the folders of a path that come before the first name with a wildcard."""
    parts = path.split("/")
    return "/".join(parts[: next((i for i, part in enumerate(parts) if is_pattern(part)), len(parts))])


def as_glob(path: str) -> str:
    """Return a pattern as file systems and the Hub know patterns."""
    return path.replace(LAYER, "*")


def local_path(name: str, base: Path = Path()) -> Path | None:
    """Return the path on this machine that a name means, or None for a name on the Hub.

    Args:
        name: a path if it begins like one (`.`, `/`, `~`), or if there is something under it.
        base: folder in which relative paths start.

    """
    path = base / Path(name).expanduser()
    exists = (base / Path(before_pattern(name)).expanduser()).exists()
    return path if name.startswith((".", "/", "~")) or exists else None


def parse(name: str, kind: Kind) -> Path | HubName:
    """Read a name as a folder that exists, or else as a name on the Hub.

    A pattern (`is_pattern`) of transcoders here is a path with the pattern in it.

    Raises:
        ModelError, TranscoderError: it is a path without a folder, or no name at all.

    """
    path = local_path(name) if name else None
    if path is None:
        return HubName.parse(name, kind)
    there = Path(before_pattern(str(path))) if kind == "transcoders" else path
    if not there.is_dir():
        raise ERRORS[kind](f"{kind} {name!r} not found: there is no such folder here: check the path.")
    return path
