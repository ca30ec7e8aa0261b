"""The note about a wait; machines that go and workers that hang are met in `test_interruptions.py`."""

from __future__ import annotations

import time

import pytest

from pipeline.runtime.shards.schedule import ShardSchedule
from pipeline.runtime.workers.cluster_watch import PATIENCE_SECONDS, ClusterWatch
from pipeline.runtime.workers.crew import Crew
from pipeline.runtime.workers.placement import Placement
from pipeline.runtime.workers.pool import WorkerHandle, WorkerPool
from tests.support.word_counts import CountWords

WANTED = Placement(replicas=2, cores=3, gpus=0.5)


@pytest.fixture
def watch() -> ClusterWatch:
    pool = WorkerPool(CountWords(""), "", item_seconds=60)
    return ClusterWatch(Crew(pool, ShardSchedule()))


def test_a_long_wait_is_told_ever_more_seldom(watch: ClusterWatch) -> None:
    assert watch.waiting_note(WANTED) is None
    watch.unready_since = time.monotonic() - PATIENCE_SECONDS - 1
    note = watch.waiting_note(WANTED)
    assert "3 free cores and 0.5 free GPUs" in note
    assert watch.waiting_note(WANTED) is None
    watch.unready_since -= 2 * PATIENCE_SECONDS
    assert watch.waiting_note(WANTED) is None
    watch.unready_since -= 2 * PATIENCE_SECONDS
    assert watch.waiting_note(WANTED) is not None


def test_one_worker_that_is_ready_ends_the_wait(watch: ClusterWatch) -> None:
    worker = WorkerHandle(actor=None)
    watch.crew.pool.workers.append(worker)
    watch.crew.schedule.started(worker)
    watch.unready_since -= PATIENCE_SECONDS + 1
    assert watch.waiting_note(WANTED) is not None
    watch.crew.schedule.joined(worker)
    assert watch.waiting_note(WANTED) is None
    assert watch.unready_since > time.monotonic() - PATIENCE_SECONDS
