"""What the deaths of workers come to: a prompt that is given up, or a sweep whose workers cannot load."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from ray.exceptions import RayError

from pipeline.errors import CircuitSweepError
from pipeline.runtime.messages import ShardReport
from pipeline.runtime.shard import Shard
from pipeline.store import Output
from pipeline.store.rows import FailedPrompt, failure_tables, join_tables

LOAD_DEATHS = 5
"""Times in a row that workers may die while loading, each later ones than those before."""


class WorkerDied(Exception):  # noqa: N818 - its name is what people read in `failures`
    """The process that traced a prompt died."""


@dataclass
class LoadingDeaths:
    """Workers that died while loading: those of one machine go together, and count once."""

    waves: int = 0
    """Times in a row that some died."""

    last: datetime | None = None
    """When the last wave was counted."""

    start_after: float = 0.0
    """Not before this time is the next worker started: with each wave the pause doubles."""

    def count(self, started: datetime, reason: str) -> bool:
        """Count the death of a worker that was started then; tell whether it is one of a new wave.

        Raises:
            CircuitSweepError: it happened too often.

        """
        if self.last is not None and started <= self.last:
            return False  # loaded beside one that was counted, maybe on the machine that went with both
        self.waves, self.last = self.waves + 1, datetime.now(UTC)
        if self.waves >= LOAD_DEATHS:
            raise CircuitSweepError(
                f"workers died while loading the model, {self.waves} times in a row, at last so: {reason} "
                "Most often the memory of the machine is too small: lower workers.replicas."
            )
        self.start_after = time.monotonic() + 2**self.waves
        return True

    def forget(self) -> None:
        """Begin to count anew, as a worker has loaded."""
        self.waves = 0


def give_up(shard: Shard, output: Output, reason: str) -> ShardReport:
    """Commit the failure of a prompt that kills its worker, with what had been rejected beside it."""
    error = WorkerDied(f"the process died {shard.deaths} times while it traced this prompt alone: {reason}")
    killers = [prompt.failed(shard.run_key, "worker", error, shard.deaths) for prompt in shard.prompts]
    failed: list[FailedPrompt] = [*killers, *shard.rejected]
    rows = join_tables([failure_tables(prompt, output.carried) for prompt in failed])
    output.commit(shard.id, rows, "driver", info={"worker": "driver"})
    return ShardReport(len(killers), shard=shard.id, failed=tuple(failed))


def death_reason(error: RayError) -> str:
    """Return the sentence of Ray's long report that says why an actor died."""
    lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    return lines[-1].split(" Some common causes")[0] if lines else type(error).__name__
