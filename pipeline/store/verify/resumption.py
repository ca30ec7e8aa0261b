"""Parts that an interrupted verification found sound, kept in a file so that the next one skips them.

A part is named by what was read: paths with the checksums that were written down of them. What is written
anew has another name, and is read. The file is the reader's own, outside of the output: who verifies may have
no right to write there. It goes once a verification came to its end: the next one reads everything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from xxhash import xxh3_128_hexdigest

from pipeline.errors import ConfigurationError
from pipeline.store.files import DataFile


class FoundSound:
    """Names of parts that were found sound, now or in an earlier verification that this one goes on with."""

    def __init__(self, url: str, path: Path | None = None) -> None:
        """Go on with what a file names, or begin a new one.

        Args:
            url: the output that is verified.
            path: the file; None keeps nothing.

        Raises:
            ConfigurationError: the file is another output's, is none of ours, or cannot be written.

        """
        self._path = path
        self._names: set[str] = set()
        if path is None:
            return
        heading = json.dumps({"verified parts of": url})
        try:
            lines = path.read_text().splitlines() if path.exists() else []
            if lines and lines[0] != heading:
                raise ConfigurationError(
                    f"{path} does not hold verified parts of {url}: name another file, or delete this one."
                )
            # The last line may have been cut short; a name that is no part's is never looked up.
            self._names.update(lines[1:])
            if not lines:
                path.write_text(f"{heading}\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{path} cannot hold the parts that were verified: {error}. Name a file that can be written."
            ) from error
        self.before = len(self._names)

    before: int = 0
    """Number of parts that earlier verifications found sound."""

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, names: Iterable[str]) -> None:
        """Keep the names of sound parts, at once: whoever is interrupted has no time for it."""
        if self._path is not None and (names := [*names]):
            with self._path.open("a") as file:
                file.write("".join(f"{name}\n" for name in names))

    def end(self) -> None:
        """Forget everything: the verification came to its end."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def part_name(kind: str, files: Iterable[DataFile], more: str = "") -> str:
    """Return the name of a part: a hash over what is read."""
    read = [kind, more, *sorted(f"{file.path} {file.bytes} {file.rows} {file.checksum}" for file in files)]
    return xxh3_128_hexdigest("\n".join(read).encode())
