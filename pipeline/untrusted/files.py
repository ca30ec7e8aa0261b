"""Files opened only if they are files: a link to `/dev/zero` never ends, and a pipe waits for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: str | Path, follow: bool = True) -> BinaryIO:
    """Open a regular file for reading.

    Args:
        path: the file.
        follow: open what a link points to.

    Raises:
        OSError: it is something else, such as a device or a pipe, or a link that is not to be followed.

    """
    # Opened first and looked at then, so that nobody can change it in between; a pipe must not make us wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError("it is a folder, a device or a pipe, and no regular file")


def read_bounded(path: str | Path, most: int) -> bytes:
    """Read a file of at most so many bytes.

    Raises:
        OSError: it cannot be read, is larger, or is no regular file.

    """
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(f"it is larger than {most:,} bytes, which no such file is")
    return data
