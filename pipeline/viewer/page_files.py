"""The page's files: a table read at start, so that no path of a request ever reaches the disk."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent / "page"

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
"""Content types of the page's files; others in the folder are not served."""

IMPORT_MAP = re.compile(rb'<script type="importmap">(.*?)</script>', re.DOTALL)


@dataclass(frozen=True)
class PageFile:
    """A file as it is served."""

    data: bytes
    content_type: str

    @property
    def etag(self) -> str:
        """Name of this content, for caches."""
        return sha256(self.data).hexdigest()[:16]


def read_page_files(folder: Path = FOLDER) -> dict[str, PageFile]:
    """Read every file of the page, by its path within the folder."""
    return {
        path.relative_to(folder).as_posix(): PageFile(path.read_bytes(), TYPES[path.suffix])
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES and path.is_file()
    }


def inline_hashes(files: Mapping[str, PageFile]) -> list[str]:
    """Return the hashes of the scripts inside index.html, as a content security policy names them."""
    scripts = IMPORT_MAP.findall(files["index.html"].data)
    return [f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in scripts]
