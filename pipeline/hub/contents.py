"""The content of a folder as one hash: large files by their size and evenly spaced samples.

A 10 GB model takes well under a second. Samples can miss an edit of a few bytes inside a large file;
retrained weights differ everywhere.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from xxhash import xxh3_128

from pipeline.hub.names import as_glob, before_pattern, is_pattern

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


def read_files(folder: Path) -> list[Path]:
    """Return the files of a model's or dictionary's folder that are read; none with a hidden name.

    Of a pattern (`is_pattern`) it is the files that fit, and the configurations beside them.
    """
    base = Path(before_pattern(str(folder)))
    return sorted(
        path
        for path in (_fitting(folder, base) if is_pattern(str(folder)) else folder.rglob("*"))
        if is_read(path.relative_to(base).as_posix()) and path.is_file()
    )


def is_read(name: str) -> bool:
    """Tell if a file of a folder is read, by its name there: none is hidden, and none leads elsewhere."""
    parts = name.split("/")
    return PurePosixPath(name).suffix in READ_SUFFIXES and all(p and not p.startswith(".") for p in parts)


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


def file_fingerprint(path: Path) -> str:
    """Hash a file's content, as that of a folder is."""
    digest = xxh3_128()
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
