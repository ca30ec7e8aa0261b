"""Open an npz archive (GemmaScope) without unpickling and, where it is not compressed, without reading it.

An npz file is a zip of npy files. A member that is stored uncompressed, as `numpy.savez` does, lies in
the archive byte for byte, so its rows can be read in place. A compressed one is unpacked into memory, at most
to the size that its header declares, and only if a file of this size can honestly hold so much: a megabyte of
zeros that unpacks to a gigabyte is no dictionary.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from jaxtyping import Int
from numpy.lib import format as npy
from torch import Tensor

from pipeline.errors import TranscoderError
from pipeline.transcoders.tensors.stored import StoredTensor, TensorFile

_DTYPES = {"<f8": torch.float64, "<f4": torch.float32, "<f2": torch.float16}

MOST_RATIO = 20
"""Times by which compressed members may grow: trained floats hardly grow at all, ones with many zeros a few
times; a bomb a thousand times."""

SMALL_BYTES = 16 << 20
"""Bytes that any file may unpack to: biases may be all zeros."""

_LOCAL_HEADER = 30
"""Bytes of a zip member's local header before its name."""


@dataclass(frozen=True)
class UnpackedTensor(StoredTensor):
    """A tensor that cannot be read in place and is held instead."""

    values: Tensor

    def whole(self) -> Tensor:
        """Return the tensor."""
        return self.values

    def rows(self, indices: Int[Tensor, " n"]) -> Tensor:
        """Return rows by number."""
        return self.values.view(-1, self.shape[-1])[indices.cpu()]

    def block(self, start: int, stop: int) -> Tensor:
        """Return consecutive rows."""
        return self.values.view(-1, self.shape[-1])[start:stop]


def open_npz(path: Path) -> TensorFile:
    """Open an archive of arrays.

    Raises:
        TranscoderError: the file is missing or corrupt, or holds something that is no plain array of floats.

    """
    if not path.is_file():
        raise TranscoderError(f"transcoder file {path} does not exist: is the download complete?")
    try:
        with zipfile.ZipFile(path) as archive:
            left, tensors = max(SMALL_BYTES, MOST_RATIO * path.stat().st_size), {}
            for member in archive.infolist():
                stored = _stored(path, archive, member, left)
                left -= stored.values.nbytes if isinstance(stored, UnpackedTensor) else 0
                tensors[member.filename.removesuffix(".npy")] = stored
            return TensorFile(path, tensors)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError) as error:
        raise TranscoderError(f"transcoder file {path} is corrupt ({error}): fetch it again.") from error


def _stored(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> StoredTensor:
    """Open one member; a compressed one may unpack to `most` bytes."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise TranscoderError(
            f"{path}: {member.filename} is compressed in another way than numpy's: save it again."
        )
    with archive.open(member) as opened:
        version = npy.read_magic(opened)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, is_fortran, dtype = read_header(opened)
        header = opened.tell()
    if is_fortran or dtype.str not in _DTYPES:
        raise TranscoderError(
            f"{path}: {member.filename} holds {dtype}{' in Fortran order' if is_fortran else ''}, but must "
            "hold 16, 32 or 64 bit floats in C order: objects and other types are not read."
        )
    torch_dtype = _DTYPES[dtype.str]
    if member.compress_type != zipfile.ZIP_STORED:
        if (size := prod(shape) * dtype.itemsize) > most:
            raise TranscoderError(
                f"{path}: {member.filename} has {member.compress_size:,} bytes that are to unpack to "
                f"{size:,}, which no trained weights do: the file is damaged, or meant to fill the memory."
            )
        with archive.open(member) as opened:
            # No more than the declared size is read, whatever the member would go on to unpack to.
            values = torch.from_numpy(npy.read_array(opened, allow_pickle=False))
        return UnpackedTensor(path, 0, shape, torch_dtype, values)
    return StoredTensor(path, _data_offset(path, member) + header, shape, torch_dtype)


def _data_offset(path: Path, member: zipfile.ZipInfo) -> int:
    with path.open("rb") as opened:
        opened.seek(member.header_offset)
        header = opened.read(_LOCAL_HEADER)
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return member.header_offset + _LOCAL_HEADER + name + extra
