"""How a sweep is served."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ViewOptions:
    """How a sweep is served."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one."""

    at: str | None = None
    diff: str | None = None
    """Output of the sweep to compare with."""

    matches: str | None = None
    """Folder of matched features, where its dictionary is another."""

    model: bool = True
    """Load the sweep's model once a page asks for it."""

    device: str | None = None
    trust_remote_code: bool = False
    read_only: bool = False
    """Write no notes."""

    open_browser: bool = True
    embed_from: str | None = None
