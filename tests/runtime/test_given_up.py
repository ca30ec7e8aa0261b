"""The failure of an item that kills its workers, as the driver commits it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.runtime.given_up import commit_given_up
from pipeline.runtime.shards.shard import Item, Shard
from pipeline.runtime.work import output_of
from pipeline.store import Output
from pipeline.store.rows.failures import failure_tables, join_tables
from tests.support.word_counts import WORDS, CountWords

RUN = 7
REFUSED = Item(key=2, id="q2").failed(RUN, "tokenize", ValueError("no tokens"))
KILLER = Shard((Item(key=1, id="q1", text="it kills"),), (REFUSED,), RUN, deaths=2)


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return output_of(CountWords(str(tmp_path)), str(tmp_path))


def test_an_item_that_kills_its_worker_has_failed(output: Output) -> None:
    report, worker = commit_given_up(output, KILLER, "out of memory")
    (marker,) = output.committed()
    assert (marker.prompt_keys, marker.failed_keys, marker.worker) == ((), (1, 2), "driver")
    assert (report.with_rows, [failed.id for failed in report.failed], worker) == (0, ["q1", "q2"], "driver")
    assert "out of memory" in report.failed[0].message


def test_what_a_worker_committed_before_it_died_stays_committed(output: Output) -> None:
    words = pa.Table.from_pylist([{"prompt_key": 1, "words": 2, "different": 2}], WORDS.schema)
    failures = failure_tables(REFUSED, output.extra_columns)
    output.commit(KILLER.id, join_tables([{"words": words}, failures]), worker="here:1")
    report, worker = commit_given_up(output, KILLER, "out of memory")
    (marker,) = output.committed()
    assert (marker.prompt_keys, marker.failed_keys, marker.worker) == ((1,), (2,), "here:1")
    assert (report.with_rows, [failed.id for failed in report.failed], worker) == (1, ["q2"], "here:1")
