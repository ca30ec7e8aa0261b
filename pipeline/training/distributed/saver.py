"""Checkpoints behind the training: a state is copied to host memory, and uploaded while steps go on."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pipeline.training.distributed.checkpoints import Checkpoints, ShardFile
from pipeline.training.distributed.process_group import ProcessGroup


@dataclass
class Saver:
    """Writes the checkpoints of one process of a gang, one at a time."""

    checkpoints: Checkpoints
    group: ProcessGroup
    saved: int = 0
    """Step of the last complete one, as far as this process knows."""

    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "checkpoint"))
    _behind: ProcessGroup | None = None
    _pending: Future[None] | None = None

    def save(
        self,
        steps: int,
        step: int | None,
        tensors: Mapping[str, Tensor],
        info: Mapping[str, Any],
        *,
        seconds: float,
        before_decay: bool = False,
    ) -> None:
        """Begin to write a checkpoint, after the one before is complete; no step is the export.

        Raises:
            StoreError: the one before could not be written.

        """
        self.wait()
        self._pending = self._thread.submit(self._write, steps, step, tensors, info, before_decay, seconds)

    def wait(self) -> None:
        """Wait until what was begun is complete.

        Raises:
            StoreError: it could not be written.

        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def _write(
        self,
        steps: int,
        step: int | None,
        tensors: Mapping[str, Tensor],
        info: Mapping[str, Any],
        before_decay: bool,
        seconds: float,
    ) -> None:
        self._behind = self._behind or self.group.another_connection()
        shard = self.checkpoints.write_shard(steps, step, self.group.rank, tensors, info)
        shards = self._behind.gather(f"checkpoint/{steps}/{step}", shard.model_dump_json())
        if self.group.rank == 0:
            files = [ShardFile.model_validate_json(one) for one in shards]
            self.checkpoints.commit(steps, step, files, before_decay=before_decay, seconds=seconds)
            self.checkpoints.delete_old(steps)
        self.saved = self.saved if step is None else step
