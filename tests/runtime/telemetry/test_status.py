"""Where a sweep stands, by what drivers and workers leave; `tests/jobs/test_status.py` has real ones."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.errors import DamageError
from pipeline.runtime.telemetry.run_state import RunState, WorkerState
from pipeline.runtime.telemetry.status import Committed, read_status
from pipeline.store.commits.keys import shard_id
from pipeline.store.commits.lease import Holder
from pipeline.store.commits.runs import key_of_repeated, write_report
from pipeline.store.layout import DRIVER
from pipeline.store.output import Output
from pipeline.store.rows.failures import failure_tables, join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import FailedPrompt
from tests.support.random_graphs import random_prompt

RUN_KEY = -7
NOW = datetime.now(UTC)


@dataclass
class Report:
    """As much of a report as is read."""

    state: str
    started: datetime = NOW - timedelta(hours=1)
    error: str | None = None
    counts: dict[str, int] = field(default_factory=lambda: {"total": 9, "read": 9, "done": 2})
    notes: list[str] = field(default_factory=lambda: ["a note of the report"])


def commit(output: Output, seeds: list[int], worker: str, failed: int = 0) -> None:
    prompts = [random_prompt(seed, edges=20) for seed in seeds]
    keys = [prompt.prompt_key for prompt in prompts]
    failures = [FailedPrompt(-key, f"f{key}", RUN_KEY, "", "trace", "E", "m", 1) for key in keys[:failed]]
    tables = [graph_tables(prompt, output.extra_columns) for prompt in prompts]
    tables += [failure_tables(prompt, output.extra_columns) for prompt in failures]
    assert output.commit(shard_id(keys, RUN_KEY), join_tables(tables), worker=worker)


def hold(output: Output, holder: Holder, **said: Any) -> None:
    """Hold the output as a driver does that has said where it stands, or nothing yet."""
    if said:
        holder = holder.model_copy(update={"run": RunState(**STATE | said).model_dump(mode="json")})
    assert output.folder.create(DRIVER, holder.model_dump_json().encode())


STATE = {
    "started": NOW,
    "state": "working",
    "counts": {"total": 20, "read": 8, "done": 5, "failed": 1},
    "rate": 2.0,
    "queued_shards": 1,
    "deaths": 0,
    "wanted_workers": 2,
    "workers": [
        WorkerState("10.0.0.1:7", "working", NOW, "ab" * 16, items=4, items_done=3),
        WorkerState(None, "waiting", NOW),
    ],
    "notes": ["a worker died"],
}


def test_a_folder_without_a_sweep(output: Output) -> None:
    status = read_status(output)
    assert status.state == "never started"
    assert (status.committed, status.driver, status.left, status.versions) == (Committed(), None, None, {})


def test_a_running_sweep_says_who_does_what(output: Output) -> None:
    output.claim({}, RUN_KEY)
    commit(output, [1, 2], "10.0.0.1:7")
    commit(output, [3], "10.0.0.1:7", failed=1)
    commit(output, [4, 5], "10.0.0.2:8")
    here = Holder.here()
    hold(output, here, state="working")
    status = read_status(output)
    assert status.state == "running"
    assert status.driver is not None
    assert (status.driver.name, status.driver.since) == (f"{here.host}:{here.pid}", here.since)
    assert (status.committed.shards, status.committed.graphs, status.committed.failures) == (3, 5, 1)
    assert (status.total, status.left, status.rate, status.seconds_left) == (20, 14, 2.0, 7.0)
    assert status.notes == ["a worker died"]
    working, waiting, gone = status.workers
    assert working.worker == STATE["workers"][0]
    assert (working.committed.shards, working.committed.graphs, working.committed.failures) == (2, 3, 1)
    assert (waiting.worker.activity, waiting.committed) == ("waiting", Committed())
    assert (gone.worker.name, gone.is_gone, gone.committed.graphs) == ("10.0.0.2:8", True, 2)


def test_a_driver_that_said_nothing_yet(output: Output) -> None:
    """What an earlier start counted is not its own."""
    output.claim({}, RUN_KEY)
    write_report(output.folder, Report("KeyboardInterrupt"))
    hold(output, Holder.here())
    status = read_status(output)
    assert (status.state, status.left, status.rate, status.workers) == ("running", None, None, [])


@pytest.mark.parametrize(
    "change",
    [{"host": "elsewhere", "beat": NOW - timedelta(minutes=5)}, {"pid": 2**22 + 1}],
    ids=["silent elsewhere", "gone here"],
)
def test_a_driver_that_died(output: Output, change: dict[str, Any]) -> None:
    output.claim({}, RUN_KEY)
    commit(output, [1], "10.0.0.1:7")
    holder = Holder.here().model_copy(update=change)
    hold(output, holder, state="working")
    status = read_status(output)
    assert (status.state, status.is_well, status.left, status.rate) == ("died", False, 14, None)
    assert [worker.is_gone for worker in status.workers] == [True]


@pytest.mark.parametrize(
    ("ended", "state", "error", "is_well"),
    [
        ("finished", "finished", None, True),
        ("KeyboardInterrupt", "interrupted", None, False),
        ("StoreError", "stopped", "StoreError: no space", False),
    ],
)
def test_how_the_last_start_ended(
    output: Output,
    ended: str,
    state: str,
    error: str | None,
    is_well: bool,
) -> None:
    output.claim({}, RUN_KEY)
    commit(output, [1], "10.0.0.1:7")
    write_report(output.folder, Report("StoreError", NOW - timedelta(hours=9), error="an older one"))
    write_report(output.folder, Report(ended, error="no space" if error else None))
    status = read_status(output)
    assert (status.state, status.error, status.is_well, status.starts) == (state, error, is_well, 2)
    assert status.left == (0 if ended == "finished" else 7)
    assert status.driver is None


def test_a_run_state_of_another_version_says_nothing(output: Output) -> None:
    output.claim({}, RUN_KEY)
    hold(output, Holder.here().model_copy(update={"run": {"format": 0}}))
    status = read_status(output)
    assert (status.state, status.left, status.notes) == ("running", None, [])


def test_published_versions_are_named(output: Output) -> None:
    output.claim({}, RUN_KEY)
    for night in range(2):
        commit(output, [night], "10.0.0.1:7")
        output.publish(RUN_KEY)
    status = read_status(output)
    assert (status.versions["graphs"], status.versions["edges"], status.versions["failures"]) == (1, 1, 0)
    assert status.published is not None
    assert NOW - timedelta(seconds=1) < status.published < datetime.now(UTC) + timedelta(seconds=1)


@pytest.mark.parametrize("data", [b"", b'{"state": "fin', b"[]", b'{"state": ["finished"], "counts": 3}'])
def test_a_report_that_cannot_be_read_is_passed_over(output: Output, data: bytes) -> None:
    """As a full disk left it."""
    commit(output, [1, 2], "10.0.0.1:7")
    write_report(output.folder, Report("StoreError", error="No space left on device"))
    output.folder.write("_runs/29990101T000000.000000Z.json", data)
    status = read_status(output)
    assert (status.state, status.error) == ("stopped", "StoreError: No space left on device")
    assert key_of_repeated(output.folder, "unknown-id") is None  # what `show` asks


@pytest.mark.parametrize("change", [{"worker": ["a", "list"]}, {"seconds": 3}, {"created": "yesterday"}])
def test_strange_entries_of_a_marker_are_damage(output: Output, change: dict[str, Any]) -> None:
    commit(output, [1, 2], "10.0.0.1:7")
    (marker,) = output.folder.list("_commits")
    stored = json.loads(output.folder.read(marker.name))
    output.folder.replace(marker.name, json.dumps(stored | change).encode())
    with pytest.raises(DamageError, match=marker.name):
        read_status(output)
