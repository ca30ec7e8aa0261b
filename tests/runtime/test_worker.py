"""A worker alone, without Ray: what it traces, writes and hands back."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import PromptError
from pipeline.runtime.messages import Place
from pipeline.runtime.serialization import packed, unpacked
from pipeline.runtime.shard import Shard, ShardPrompt
from pipeline.runtime.stage import StageError
from pipeline.runtime.worker import Tables, Worker
from pipeline.store.output import Output
from schemas import TABLES

RUN = 7


class Scripted(Worker):
    """Does with a prompt what a test says."""

    def _load(self) -> None:
        self.output = Output(self.config)

    def place(self) -> Place:
        return Place("here", "node", 1)

    def _trace(self, prompt: ShardPrompt, run_key: int, seconds: Counter[str]) -> Tables:
        self.act(prompt.prompt_key)
        schema = TABLES["graphs"].schema
        empty = {"string": "", "int64": 0, "int32": 0, "double": 0.0, "timestamp[us, tz=UTC]": 0}
        row = {field.name: empty.get(str(field.type), []) for field in schema}
        return {"graphs": pa.Table.from_pylist([row | {"prompt_key": prompt.prompt_key}], schema)}

    act: Callable[[int], None] = staticmethod(lambda key: None)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Scripted]:
    before = signal.getsignal(signal.SIGTERM)
    worker = Scripted(str(tmp_path), 1)
    signal.signal(signal.SIGTERM, before)
    worker.load()
    yield worker
    worker._tracer.shutdown(wait=False, cancel_futures=True)


def shard(*keys: int) -> Shard:
    return Shard(tuple(ShardPrompt(key, f"q{key}", None, (key,), {}) for key in keys), (), RUN)


def test_a_shard_is_traced_while_the_one_before_is_written(
    worker: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_began, commit = threading.Event(), worker.output.commit
    worker.act = lambda key: second_began.set() if key == 3 else None

    def commit_late(name: str, *rest: object) -> object:
        if name == shard(1, 2).id:
            assert second_began.wait(60), "the next shard waited for this commit"
        return commit(name, *rest)

    monkeypatch.setattr(worker.output, "commit", commit_late)
    with ThreadPoolExecutor(2) as calls:
        reports = list(calls.map(lambda one: worker.run(one, 60), [shard(1, 2), shard(3, 4)]))
    assert [(report.done, report.graphs) for report in reports] == [(2, 2), (2, 2)]
    assert {marker.shard for marker in worker.output.committed()} == {shard(1, 2).id, shard(3, 4).id}


def test_a_driver_passes_shards_and_gets_reports_as_bytes(worker: Scripted) -> None:
    sent = packed((shard(1, 2), 60.0))
    report = unpacked(worker.run_packed(sent))
    assert (report.done, report.graphs, report.shard) == (2, 2, shard(1, 2).id)
    assert set(report.prompt_keys) == {1, 2}


def test_a_report_says_what_the_marker_says(worker: Scripted) -> None:
    def act(key: int) -> None:
        if key == 2:
            raise StageError("pruning", PromptError("no"))

    worker.act = act
    report = worker.run(shard(1, 2, 3), 60)
    (marker,) = worker.output.committed()
    assert (report.shard, report.prompt_keys, report.rows) == (marker.shard, (1, 3), marker.rows)
    assert report.bytes == marker.bytes
    assert [(failed.prompt_key, failed.stage) for failed in report.failed] == [(2, "pruning")]
    assert marker.info["worker"] == "here:1"
    assert 0 < marker.info["began"] <= marker.info["traced"]
    assert not report.leaving


def test_told_to_leave_it_finishes_the_prompt_at_hand_and_commits_what_it_has(worker: Scripted) -> None:
    worker.act = lambda key: worker.leave() if key == 2 else None
    report = worker.run(shard(1, 2, 3, 4), 60)
    assert (report.done, report.graphs, report.leaving) == (2, 2, True)
    (marker,) = worker.output.committed()
    assert (marker.shard, marker.prompt_keys) == (shard(1, 2).id, (1, 2))
    assert shard(1, 2, 3, 4).after(report.done).id == shard(3, 4).id
    late = worker.run(shard(5), 60)
    assert (late.done, late.shard, late.leaving) == (0, None, True)


def test_a_prompt_that_takes_too_long_fails_and_the_rest_is_handed_back(worker: Scripted) -> None:
    ends = threading.Event()
    worker.act = lambda key: ends.wait(60) if key == 2 else None
    report = worker.run(shard(1, 2, 3), 2)
    assert (report.done, report.graphs, report.leaving) == (2, 1, True)
    (failed,) = report.failed
    assert (failed.prompt_key, failed.stage, failed.error_class) == (2, "worker", "PromptTimeout")
    assert "longer than 2 s" in failed.message
    assert "workers.prompt_seconds" in failed.message
    late = worker.run(shard(3), 2)
    assert (late.done, late.failed, late.leaving) == (0, (), True), "it waits behind the one that hangs"
    ends.set()
    (marker,) = worker.output.committed()
    assert (marker.prompt_keys, marker.failed_keys) == ((1,), (2,))


def test_the_limit_is_for_a_prompt_not_for_a_shard(worker: Scripted) -> None:
    worker.act = lambda key: time.sleep(0.5)
    assert worker.run(shard(*range(1, 9)), 3).graphs == 8


def test_it_says_what_is_at_hand(worker: Scripted) -> None:
    signs = []
    worker.act = lambda key: signs.append(worker.sign())
    worker.run(shard(1, 2), 60)
    assert [(sign.shard, sign.prompts, sign.done) for sign in signs] == [
        (shard(1, 2).id, 2, 0),
        (shard(1, 2).id, 2, 1),
    ]
    assert worker.sign().shard is None
