"""Text files of strangers looked through before a library parses them: long lines and deep nesting.

A line of a few hundred kilobytes of brackets overflows the stack of pyarrow's JSON parser, which ends the
process; a compressed file of kilobytes can hold a line of gigabytes, which is read into memory whole.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from pipeline.untrusted.files import open_regular

LINE_BYTES = 64 << 20
"""Longest line that is read: beyond what any model reads."""

DEPTH = 100
"""Most brackets within one another on a line; rows that people write have ten."""

_BLOCK_BYTES = 1 << 20

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')

_OPENERS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda file: pa.CompressedInputStream(file, "zstd"),
}
"""Readers of compressed files, by the file's ending."""

_STEPS = np.zeros(256, dtype=np.int32)
_STEPS[[ord("["), ord("{")]] = 1
_STEPS[[ord("]"), ord("}")]] = -1


def count_lines(path: Path, is_json: bool = False) -> int:
    """Count the lines of a file, compressed or not; a last one may lack its end.

    Args:
        path: the file.
        is_json: refuse lines that are nested too deeply.

    Raises:
        ValueError: a line is too long or nested too deeply, with its number.
        OSError, EOFError, lzma.LZMAError, pyarrow.ArrowInvalid: the file cannot be read.

    """
    lines, begun = 0, bytearray()
    # A document may be one line of a plain file: then its size on disk says what it takes.
    most = None if path.suffix == ".json" else LINE_BYTES
    for block in _blocks(path):
        first, *others = block.split(b"\n")
        begun += first
        if most is not None and len(begun) > most:
            raise ValueError(f"line {lines + 1:,} is longer than {most >> 20} MB")
        if others:
            *whole, last = others
            if is_json:
                for number, line in enumerate((begun, *whole), lines + 1):
                    _check_depth(line, number)
            lines, begun = lines + len(others), bytearray(last)
    if is_json:
        _check_depth(begun, lines + 1)
    return lines + bool(begun)


def _blocks(path: Path) -> Iterator[bytes]:
    with open_regular(path) as plain:
        opener = _OPENERS.get(path.suffix)
        file = plain if opener is None else opener(plain)
        while block := file.read(_BLOCK_BYTES):
            yield block


def _check_depth(line: bytes | bytearray, number: int) -> None:
    if line.count(b"[") + line.count(b"{") <= DEPTH:
        return
    # Only now, since most lines have few: brackets inside strings do not count.
    bare = np.frombuffer(_STRING.sub(b"", line), dtype=np.uint8)
    if len(bare) and int(_STEPS[bare].cumsum().max()) > DEPTH:
        raise ValueError(f"line {number:,} has brackets {DEPTH} deep and deeper")
