"""A worker alone, without Ray: what it traces, writes and hands back."""

from __future__ import annotations

import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import PromptError
from pipeline.runtime.shards.shard import Item, Shard
from pipeline.runtime.shards.stage import StageError
from pipeline.runtime.work import Rows, WorkerResources
from pipeline.runtime.workers.messages import WorkerAddress
from pipeline.runtime.workers.worker import Worker
from pipeline.store.output import Output
from schemas import TABLES
from tests.support.empty_rows import empty_row

RUN = 7


class Scripted:
    """Does with an item what a test says."""

    tables = tuple(TABLES.values())
    memory_bytes = None

    def load(self, resources: WorkerResources, output: Output) -> None:
        pass

    def do(self, item: Item) -> Rows:
        self.act(item.key)
        return Rows({"graphs": empty_row("graphs", item.key)})

    act: Callable[[int], object] = staticmethod(lambda key: None)


class Alone(Worker):
    """A worker that is no actor."""

    work: Scripted

    def address(self) -> WorkerAddress:
        return WorkerAddress("here", "node", 1)

    def resources(self) -> WorkerResources:
        return WorkerResources(1, ("cpu",), 1.0)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Alone]:
    before = signal.getsignal(signal.SIGTERM), logging.getLogRecordFactory(), warnings.showwarning
    worker = Alone(Scripted(), str(tmp_path), 1)
    worker.load()
    yield worker
    worker._doer.shutdown(wait=False, cancel_futures=True)
    signal.signal(signal.SIGTERM, before[0])
    logging.setLogRecordFactory(before[1])
    warnings.showwarning = before[2]


def shard(*keys: int) -> Shard:
    return Shard(tuple(Item(key=key, id=f"q{key}") for key in keys), (), RUN)


def test_a_shard_is_done_while_the_one_before_is_written(
    worker: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_began, commit = threading.Event(), worker.output.commit
    worker.work.act = lambda key: second_began.set() if key == 3 else None

    def commit_late(name: str, *rest: object, **options: object) -> object:
        if name == shard(1, 2).id:
            assert second_began.wait(60), "the next shard waited for this commit"
        return commit(name, *rest, **options)

    monkeypatch.setattr(worker.output, "commit", commit_late)
    with ThreadPoolExecutor(2) as calls:
        reports = list(calls.map(lambda one: worker.run(one, 60), [shard(1, 2), shard(3, 4)]))
    assert [(report.done, report.with_rows) for report in reports] == [(2, 2), (2, 2)]
    assert {marker.shard for marker in worker.output.committed()} == {shard(1, 2).id, shard(3, 4).id}


def test_a_report_says_what_the_marker_says(worker: Alone) -> None:
    def act(key: int) -> None:
        if key == 2:
            raise StageError("pruning", PromptError("no"))

    worker.work.act = act
    report = worker.run(shard(1, 2, 3), 60)
    (marker,) = worker.output.committed()
    assert (report.shard, report.done_keys, report.rows) == (marker.shard, (1, 3), marker.rows)
    assert report.bytes == marker.bytes
    assert [(failed.prompt_key, failed.stage) for failed in report.failed] == [(2, "pruning")]
    assert marker.worker == "here:1"
    assert marker.began <= marker.ended <= marker.created
    assert marker.seconds.work > 0
    assert not report.leaving


def test_an_item_with_an_unforeseen_error_fails_alone(worker: Alone) -> None:
    def act(key: int) -> None:
        if key == 2:
            raise ZeroDivisionError("an unforeseen fault")

    worker.work.act = act
    report = worker.run(shard(1, 2, 3), 60)
    assert (report.done, report.done_keys, report.leaving) == (3, (1, 3), False)
    (failed,) = report.failed
    assert (failed.prompt_key, failed.stage, failed.error_class) == (2, "worker", "ZeroDivisionError")
    assert failed.message == "an unforeseen fault"
    (marker,) = worker.output.committed()
    assert (marker.prompt_keys, marker.failed_keys) == ((1, 3), (2,))


def test_an_error_of_writing_is_raised_so_that_the_shard_is_done_again(
    worker: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(worker.output, "commit", fail)
        with pytest.raises(OSError, match="disk full"):
            worker.run(shard(1, 2), 60)
    assert worker.run(shard(1, 2), 60).done_keys == (1, 2)


def test_told_to_leave_it_finishes_the_prompt_at_hand_and_commits_what_it_has(worker: Alone) -> None:
    worker.work.act = lambda key: worker.leave() if key == 2 else None
    report = worker.run(shard(1, 2, 3, 4), 60)
    assert (report.done, report.with_rows, report.leaving) == (2, 2, True)
    (marker,) = worker.output.committed()
    assert (marker.shard, marker.prompt_keys) == (shard(1, 2).id, (1, 2))
    late = worker.run(shard(5), 60)
    assert (late.done, late.shard, late.leaving) == (0, None, True)


def test_a_prompt_that_takes_too_long_fails_and_the_rest_is_handed_back(worker: Alone) -> None:
    ends = threading.Event()
    worker.work.act = lambda key: ends.wait(60) if key == 2 else None
    report = worker.run(shard(1, 2, 3), 2)
    assert (report.done, report.with_rows, report.leaving) == (2, 1, True)
    (failed,) = report.failed
    assert (failed.prompt_key, failed.stage, failed.error_class) == (2, "worker", "PromptTimeout")
    assert "longer than 2 s" in failed.message
    assert "workers.prompt_seconds" in failed.message
    late = worker.run(shard(3), 2)
    assert (late.done, late.failed, late.leaving) == (0, (), True), "it waits behind the one that hangs"
    ends.set()
    (marker,) = worker.output.committed()
    assert (marker.prompt_keys, marker.failed_keys) == ((1,), (2,))


def test_the_limit_is_for_a_prompt_not_for_a_shard(worker: Alone) -> None:
    worker.work.act = lambda key: time.sleep(0.5)
    assert worker.run(shard(*range(1, 9)), 3).with_rows == 8


def test_it_says_what_is_at_hand(worker: Alone) -> None:
    signs = []
    worker.work.act = lambda key: signs.append(worker.heartbeat())
    worker.run(shard(1, 2), 60)
    assert [(sign.shard, sign.items, sign.done) for sign in signs] == [
        (shard(1, 2).id, 2, 0),
        (shard(1, 2).id, 2, 1),
    ]
    assert worker.heartbeat().shard is None


def test_what_libraries_warn_of_is_told_once(worker: Alone) -> None:
    def act(key: int) -> None:
        logging.getLogger("library").warning("item %s\n is odd", key % 2)
        logging.getLogger("library").info("nothing")
        warnings.warn_explicit("old use", DeprecationWarning, "/x/site-packages/lib/part.py", key)

    quiet = logging.getLogger("library")
    quiet.propagate, quiet.handlers = False, [logging.NullHandler()]  # as transformers does
    worker.work.act = act
    with warnings.catch_warnings(action="always"):
        first, second = worker.run(shard(1, 2), 60), worker.run(shard(3, 4), 60)
    assert first.warnings == (
        "library: item 1 is odd",
        "lib.part: DeprecationWarning: old use",
        "library: item 0 is odd",
    )
    assert second.warnings == worker.heartbeat().warnings == ()
