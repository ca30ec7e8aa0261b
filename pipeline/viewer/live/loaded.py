"""The model that a process is to load, as the parent names it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Loaded:
    """The model that the process loads."""

    url: str
    """Output of its sweep."""

    device: str | None = None
    trust_remote_code: bool = False
    folder: str = ""
    """Folder for the graphs of typed prompts."""
