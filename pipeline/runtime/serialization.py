"""What driver and workers tell each other, as bytes: the only place where anything is unpickled.

Ray passes bytes on as they are; taking apart and putting together anything else costs the driver about 0.4
milliseconds a shard. It would pickle by itself what is pickled here: both ends are processes of one sweep on
one Ray cluster, and nothing comes this way from a disk or a dataset.
"""

from __future__ import annotations

import pickle
from typing import Any

from pipeline.errors import CircuitSweepError


def packed(value: Any) -> bytes:
    """Return a value as `unpacked` takes it."""
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def unpacked(sent: bytes) -> Any:
    """Return what the other end packed.

    Raises:
        CircuitSweepError: it cannot be read here.

    """
    try:
        return pickle.loads(sent)
    except Exception as error:
        raise CircuitSweepError(
            f"driver and workers do not understand each other ({type(error).__name__}: {error}): they must "
            "run the same version of Circuit Sweep, with the same version of Python."
        ) from error
