"""Outcomes of calls and their consequences, without a cluster; `test_kind_of_work.py` has one."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.errors import CircuitSweepError
from pipeline.runtime.outcomes import Outcomes
from pipeline.runtime.shards.schedule import ShardSchedule
from pipeline.runtime.shards.shard import Item, Shard
from pipeline.runtime.telemetry.metrics import Metrics
from pipeline.runtime.telemetry.progress import Progress
from pipeline.runtime.work import output_of
from pipeline.runtime.workers.crew import Crew
from pipeline.runtime.workers.messages import Heartbeat, ShardReport, WorkerAddress
from pipeline.runtime.workers.pool import PendingCall, WorkerHandle, WorkerPool
from pipeline.store.rows.failures import failure_tables
from tests.support.word_counts import CountWords

SHARD = Shard(tuple(Item(key=key, id=f"q{key}") for key in (1, 2, 3)), (), run_key=7)


@dataclass
class Held:
    """Outcomes of a run in which one worker holds `SHARD`."""

    outcomes: Outcomes
    worker: WorkerHandle

    def report(self, report: ShardReport) -> None:
        self.outcomes.take(PendingCall("run", self.worker, SHARD), report)


@pytest.fixture
def held(tmp_path: Path) -> Held:
    work = CountWords(str(tmp_path))
    output = output_of(work, str(tmp_path))
    crew = Crew(WorkerPool(work, output.url, 60), ShardSchedule())
    worker = WorkerHandle(actor=None, address=WorkerAddress("here", "node", 1))
    crew.schedule.add(SHARD)
    crew.schedule.started(worker)
    crew.schedule.joined(worker)
    crew.schedule.orders()
    progress = Progress(Console(file=io.StringIO()))
    return Held(Outcomes(crew, output, progress, Metrics(output.url)), worker)


def commit(held: Held, shard: Shard) -> None:
    failed = shard.items[0].failed(shard.run_key, "read", ValueError("no"))
    output = held.outcomes.output
    assert output.commit(shard.id, failure_tables(failed, output.extra_columns))


def test_a_commit_that_does_not_arrive_here_ends_the_run(held: Held, tmp_path: Path) -> None:
    with pytest.raises(CircuitSweepError, match=str(tmp_path)):
        held.report(ShardReport(done=3, shard=SHARD.id))
    assert held.outcomes.progress.counts.done == 0


def test_what_is_committed_is_counted(held: Held) -> None:
    commit(held, SHARD)
    held.report(ShardReport(done=3, shard=SHARD.id, with_rows=3))
    assert held.outcomes.progress.counts.done == 3
    assert not held.outcomes.crew.schedule.has_work
    assert held.outcomes.abandoned == set()


def test_what_is_left_of_a_shard_goes_on_and_nobody_is_to_finish_the_whole(held: Held) -> None:
    part = SHARD.until(1)
    commit(held, part)
    held.report(ShardReport(done=1, shard=part.id, with_rows=1))
    (left,) = held.outcomes.crew.schedule.ready
    assert [item.key for item in left.items] == [2, 3]
    assert held.outcomes.abandoned == {SHARD.id}


def test_each_warning_is_passed_on_once_with_its_first_worker(held: Held) -> None:
    call = PendingCall("heartbeat", held.worker)
    held.outcomes.take(call, Heartbeat(warnings=("old", "slow")))
    held.outcomes.take(call, Heartbeat(warnings=("slow", "new")))
    notes = held.outcomes.progress.notes
    assert [note.rpartition(" ")[2] for note in notes] == ["old", "slow", "new"]
    assert all("here:1" in note for note in notes)
