"""Commits and counts of the driver's own; `test_interruptions.py` and `test_kind_of_work.py` run it whole."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from pipeline.runtime.driver import Driver
from pipeline.runtime.placement import Placement
from pipeline.runtime.pool import WorkerPool
from pipeline.runtime.shard import Item, Shard
from pipeline.runtime.telemetry.metrics import Metrics
from pipeline.runtime.telemetry.progress import Progress
from pipeline.runtime.work import output_of
from pipeline.store.rows.failures import failure_tables, join_tables
from tests.support.word_counts import WORDS, CountWords

RUN = 7
REFUSED = Item(key=2, id="q2").failed(RUN, "tokenize", ValueError("no tokens"))
KILLER = Shard((Item(key=1, id="q1", text="it kills"),), (REFUSED,), RUN, deaths=2)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    work = CountWords(str(tmp_path))
    output = output_of(work, str(tmp_path))
    progress = Progress(Console(file=io.StringIO()))
    with output.hold() as lease:
        pool = WorkerPool(work, output.url, 60)
        driver = Driver((), output, pool, lambda: Placement(0, 1, 0), progress, lease)
        driver._metrics = Metrics(output.url)
        yield driver


def test_an_item_that_kills_its_worker_is_counted_as_failed(driver: Driver) -> None:
    driver._give_up(KILLER, "out of memory")
    (marker,) = driver.output.committed()
    assert (marker.prompt_keys, marker.failed_keys, marker.worker) == ((), (1, 2), "driver")
    assert (driver.progress.counts.done, driver.progress.counts.failed) == (0, 2)


def test_what_a_worker_committed_before_it_died_is_counted_as_committed(driver: Driver) -> None:
    words = pa.Table.from_pylist([{"prompt_key": 1, "words": 2, "different": 2}], WORDS.schema)
    failures = failure_tables(REFUSED, driver.output.extra_columns)
    driver.output.commit(KILLER.id, join_tables([{"words": words}, failures]), worker="here:1")
    driver._give_up(KILLER, "out of memory")
    (marker,) = driver.output.committed()
    assert (marker.prompt_keys, marker.failed_keys, marker.worker) == ((1,), (2,), "here:1")
    assert (driver.progress.counts.done, driver.progress.counts.failed) == (1, 1)
