"""The Hub's cache on this machine with repositories that were never on the Hub."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path


@dataclass(frozen=True)
class HubCache:
    """A folder laid out as `huggingface_hub` lays out its own."""

    folder: Path

    def commit(self, repository: str, files: Mapping[str, str] | Path) -> str:
        """Add a commit with these files (contents by path, or a folder), and move `main` to it."""
        at = self.folder / f"models--{repository.replace('/', '--')}"
        number = len(list(at.glob("snapshots/*")))
        commit = sha1(f"{repository}{number}".encode()).hexdigest()
        snapshot = at / "snapshots" / commit
        if isinstance(files, Path):
            shutil.copytree(files, snapshot)
        else:
            for path, content in files.items():
                (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
                (snapshot / path).write_text(content)
        (at / "refs").mkdir(exist_ok=True)
        (at / "refs" / "main").write_text(commit)
        return commit
