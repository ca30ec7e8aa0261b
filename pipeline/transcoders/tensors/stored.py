"""Tensors that stay in their file until they are read, whole or by row.

Whole tensors are memory-mapped: they cost memory only where they are touched, and processes on one
machine share it. Rows are read with positioned reads instead. A mapped row would be as fast (both
about 2 us a row of 2 KB from a warm cache), but the kernel maps up to 2 MB around each row that is
touched, so that a few hundred scattered rows count as the whole file; positioned reads cost exactly
the rows, and a file that shrinks under us is an error message instead of a signal.

The offsets come from the file's own header: safetensors (a length, JSON, data), or an npz archive's
uncompressed members. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pipeline.errors import TranscoderError

log = logging.getLogger(__name__)

_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Element types of weights: a matrix of whole numbers is quantised, and its scales are elsewhere."""

_INTEGERS = {
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
}
"""Element types in which a file may also say a number, such as k."""

_NEVER_WEIGHTS = {"BOOL", "U16", "U32", "U64"}
"""Element types that are not read and hold no weights: flags, counters, random states."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file."""

    path: Path
    """The file."""

    offset: int
    """Byte of the file at which the tensor begins."""

    shape: tuple[int, ...]
    """Its shape; rows are its first dimensions, taken together, and a row is its last one."""

    dtype: torch.dtype

    def whole(self) -> Tensor:
        """Return the tensor, memory-mapped; a private copy where the file does not align it."""
        size = prod(self.shape) * self.dtype.itemsize
        if size == 0:
            return torch.empty(self.shape, dtype=self.dtype)
        # Copy-on-write, since torch wants writable memory; nothing is ever written to the file.
        mapped = torch.from_numpy(np.memmap(self.path, np.uint8, "c", self.offset, (size,)))
        aligned = mapped if self.offset % self.dtype.itemsize == 0 else mapped.clone()
        return aligned.view(self.dtype).view(self.shape)

    def rows(self, indices: Int[Tensor, " n"]) -> Tensor:
        """Return rows by number, each read once from the file in its order there."""
        # Ascending, so that the disk is read forwards; a feature that is active often is read once.
        wanted, order = torch.unique(indices.cpu(), return_inverse=True)
        return self._read(wanted.tolist(), 1)[order]

    def block(self, start: int, stop: int) -> Tensor:
        """Return consecutive rows, in memory of their own."""
        return self._read([start], stop - start)

    def _read(self, starts: list[int], count: int) -> Tensor:
        """Return `count` rows from each of some rows on."""
        width = self.shape[-1]
        row_bytes = width * self.dtype.itemsize
        descriptor = os.open(self.path, os.O_RDONLY)
        try:  # bytes that are joined: several times as fast as reading into slices of one buffer
            parts = [
                os.pread(descriptor, count * row_bytes, self.offset + start * row_bytes) for start in starts
            ]
        finally:
            os.close(descriptor)
        data = bytearray(b"".join(parts))
        if len(data) < len(starts) * count * row_bytes:
            raise TranscoderError(f"transcoder file {self.path} has shrunk: fetch it again.")
        return (
            torch.frombuffer(data, dtype=self.dtype).view(-1, width)
            if data
            else torch.empty(0, width, dtype=self.dtype)
        )


@dataclass(frozen=True)
class TensorFile:
    """One file's tensors by name, none of them read yet."""

    path: Path
    """The file."""

    tensors: Mapping[str, StoredTensor]

    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Element types that are not read (FP8, booleans), by tensor: an error only where one is used."""

    used: set[str] = field(default_factory=set)
    """Names of the tensors that a reader has taken."""

    def __contains__(self, key: str) -> bool:
        return key in self.tensors or key in self.unreadable

    def stored(self, key: str, shape: tuple[int, ...] | None = None) -> StoredTensor:
        """Return a tensor of weights by name, checking its shape.

        Raises:
            TranscoderError: the file has no such tensor, or it has another shape or element type.

        """
        tensor = self._taken(key)
        if not tensor.dtype.is_floating_point:
            raise self._wrong_type(key, str(tensor.dtype).removeprefix("torch."))
        if shape is not None and tensor.shape != tuple(shape):
            raise TranscoderError(
                f"{self.path}: {key} has shape {tensor.shape}, but must have {tuple(shape)}: "
                "do the tensors of this file belong together?"
            )
        return tensor

    def matrix(self, key: str, dimensions: int = 2) -> StoredTensor:
        """Return a tensor of two (or another number of) dimensions by name.

        Raises:
            TranscoderError: see `stored`.

        """
        tensor = self.stored(key)
        if len(tensor.shape) != dimensions:
            raise TranscoderError(
                f"{self.path}: {key} has shape {tensor.shape}, but must have {dimensions} dimensions: "
                "is the file of another format?"
            )
        return tensor

    def read(self, key: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """Return a small tensor's values, in memory of their own.

        Raises:
            TranscoderError: see `stored`.

        """
        return self.stored(key, shape).whole().clone()

    def whole_number(self, key: str) -> int:
        """Return the whole number that a tensor of one element holds, whatever its type.

        Raises:
            TranscoderError: it is missing, has more elements, or holds a fraction.

        """
        values = self._taken(key).whole().flatten().tolist()
        if len(values) != 1 or not float(values[0]).is_integer():
            raise TranscoderError(f"{self.path}: {key} is {values}, but must be one whole number.")
        return int(values[0])

    def refuse_unused(self, harmless: Iterable[str] = ()) -> None:
        """Refuse tensors that no reader has taken: they would change the result, and nothing would say so.

        Those that are not floating point (steps, counters, masks) are left out with a warning.

        Args:
            harmless: patterns of names that may be left (what training counted, copies of what is folded in).

        Raises:
            TranscoderError: with their names.

        """
        names = (key for key in (*self.tensors, *self.unreadable) if key not in self.used)
        left = sorted(key for key in names if not any(fnmatchcase(key, pattern) for pattern in harmless))
        # Weights are floating point: what is not is what training kept beside them.
        weights = [key for key in left if self._may_be_weights(key)]
        if weights:
            raise TranscoderError(
                f"{self.path} holds {', '.join(weights)}, which the format that it looks like does not have: "
                "leaving them out would give other numbers. Is it of another format (the README lists those "
                "that are read), or from a newer version of its library?"
            )
        if left:
            _warn_of_left_out(tuple(left))

    def _may_be_weights(self, key: str) -> bool:
        if key in self.unreadable:
            return self.unreadable[key] not in _NEVER_WEIGHTS
        return self.tensors[key].dtype.is_floating_point

    def _taken(self, key: str) -> StoredTensor:
        if key in self.unreadable:
            raise self._wrong_type(key, self.unreadable[key])
        if key not in self.tensors:
            raise TranscoderError(
                f"{self.path} has no tensor {key!r}; it holds {', '.join(sorted(self.tensors))}: "
                "is the file of another format, or damaged?"
            )
        self.used.add(key)
        return self.tensors[key]

    def _wrong_type(self, key: str, found: str) -> TranscoderError:
        return TranscoderError(
            f"{self.path}: {key} has element type {found}, but must have one of {', '.join(_FLOATS)}: "
            "convert the file."
        )


@cache
def _warn_of_left_out(names: tuple[str, ...]) -> None:
    """Warn once of the same tensors, which every layer's file has."""
    log.warning(
        "transcoder files hold %s: left out, as no format reads them and they are not floating point",
        ", ".join(names),
    )


def open_safetensors(path: Path) -> TensorFile:
    """Open a safetensors file without reading its data.

    Raises:
        TranscoderError: the file is missing or corrupt.

    """
    if not path.is_file():
        raise TranscoderError(f"transcoder file {path} does not exist: is the download complete?")
    try:
        with safe_open(path, framework="pt"), path.open("rb") as opened:  # which checks the whole header
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise TranscoderError(f"transcoder file {path} is corrupt ({error}): fetch it again.") from error
    header.pop("__metadata__", None)
    dtypes = _FLOATS | _INTEGERS
    tensors = {
        key: StoredTensor(
            path, 8 + length + entry["data_offsets"][0], tuple(entry["shape"]), dtypes[entry["dtype"]]
        )
        for key, entry in header.items()
        if entry["dtype"] in dtypes
    }
    others = {key: entry["dtype"] for key, entry in header.items() if entry["dtype"] not in dtypes}
    return TensorFile(path, tensors, others)
