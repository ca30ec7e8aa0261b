"""The processes of a gang: their sums, what they agree on, and what they tell each other.

All are on one machine and meet at its own address, where nobody else listens or is let in. Sums go through
gloo on the CPU and NCCL on GPUs; small words through the store at which they met, as text: nothing is
unpickled.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from pipeline.runtime import Member
from pipeline.training.feature_shard import WHOLE, FeatureShard

HERE = "127.0.0.1"
PATIENCE = timedelta(minutes=30)
"""Wait for others before a process gives up: one that dies breaks its connections at once."""


@dataclass(frozen=True)
class ProcessGroup:
    """One process among those of a gang."""

    rank: int = 0
    size: int = 1
    port: int = 0
    store: dist.TCPStore | None = None

    @property
    def shard(self) -> FeatureShard:
        """Its share of the features."""
        return WHOLE if self.size == 1 else FeatureShard(self.rank, self.size, dist.all_reduce)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return which flags are set in some process; all must ask."""
        if self.size == 1:
            return flags
        words = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(words, dist.ReduceOp.MAX)
        return tuple(map(bool, words.tolist()))

    def from_first(self, name: str, value: str) -> str:
        """Return the value that the first process gave under this name."""
        if self.store is None:
            return value
        if self.rank == 0:
            self.store.set(name, value)
        return self.store.get(name).decode()

    def another_connection(self) -> ProcessGroup:
        """Return the same with a connection of its own, for another thread."""
        if self.store is None:
            return self
        return ProcessGroup(self.rank, self.size, self.port, _connect(self.port))

    def gather(self, name: str, value: str) -> list[str]:
        """Return the values of all processes, in the first; in the others nothing, at once."""
        if self.store is None:
            return [value]
        self.store.set(f"{name}/{self.rank}", value)
        return (
            [self.store.get(f"{name}/{rank}").decode() for rank in range(self.size)] if self.rank == 0 else []
        )


@contextmanager
def process_group(member: Member) -> Iterator[ProcessGroup]:
    """Meet the other processes of a gang, for as long as this lasts."""
    if member.size == 1:
        yield ProcessGroup()
        return
    loopback = next((name for _, name in socket.if_nameindex() if name in ("lo", "lo0")), "lo")
    os.environ.update({"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback})
    listener = None if member.listener is None else member.listener.detach()
    store = _connect(member.port, listener)
    backend = "cpu:gloo,cuda:nccl" if member.resources.devices[0].startswith("cuda") else "gloo"
    dist.init_process_group(backend, store=store, rank=member.rank, world_size=member.size, timeout=PATIENCE)
    try:
        yield ProcessGroup(member.rank, member.size, member.port, store)
    finally:
        dist.destroy_process_group()


def _connect(port: int, listener: int | None = None) -> dist.TCPStore:
    return dist.TCPStore(
        HERE,
        port,
        is_master=listener is not None,
        timeout=PATIENCE,
        wait_for_workers=False,
        master_listen_fd=listener,
        use_libuv=False,
    )
