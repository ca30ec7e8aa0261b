from __future__ import annotations

import os
import threading

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from pipeline.errors import StoreError
from pipeline.store.commits.keys import shard_id
from pipeline.store.output import Output
from pipeline.store.rows.graphs import graph_tables
from schemas import TABLES
from tests.support.random_graphs import random_prompt

RUN_KEY = -7
FIRST, SECOND = random_prompt(1), random_prompt(2)


def commit(output: Output, prompt) -> None:
    assert output.commit(shard_id([prompt.prompt_key], RUN_KEY), graph_tables(prompt, output.extra_columns))


@pytest.fixture
def published(output: Output) -> Output:
    output.claim({}, RUN_KEY, pa.schema([("family", pa.string())]))
    commit(output, FIRST)
    output.publish(RUN_KEY)
    return output


def delta(output: Output, table: str, version: int | None = None) -> DeltaTable:
    return DeltaTable(f"{output.url}/{table}", version, storage_options=output.folder.delta_options())


def test_published_tables_hold_the_committed_rows(published: Output) -> None:
    for name in TABLES:
        rows = delta(published, name).to_pyarrow_table()
        committed = published.dataset(name).to_table()
        assert rows.to_pylist() == committed.to_pylist()


def test_polars_reads_them(published: Output) -> None:
    options = published.folder.delta_options() or None
    edges = pl.scan_delta(f"{published.url}/edges", storage_options=options)
    kept = edges.filter(pl.col("source_kind") == "feature").collect()
    expected = published.dataset("edges").to_table()["source_kind"].to_pylist().count("feature")
    assert len(kept) == expected > 0
    assert pl.scan_delta(f"{published.url}/failures", storage_options=options).collect().is_empty()


def test_a_second_night_is_a_second_version_and_the_first_stays(published: Output) -> None:
    commit(published, SECOND)
    assert published.publish(RUN_KEY).versions == {
        "graphs": 1,
        "nodes": 1,
        "edges": 1,
        "head_loadings": 1,
        "qk": 1,
        "activations": 1,
        "reconstruction": 1,
    }
    now, then = delta(published, "graphs"), delta(published, "graphs", version=0)
    assert now.version() == 1
    assert now.to_pyarrow_table().num_rows == 2
    assert then.to_pyarrow_table()["prompt_key"].to_pylist() == [FIRST.prompt_key]
    assert delta(published, "failures").version() == 0


def test_publishing_the_same_again_adds_no_version(published: Output) -> None:
    assert published.publish(RUN_KEY).versions == {}
    assert {name: delta(published, name).version() for name in TABLES} == dict.fromkeys(TABLES, 0)


def test_drivers_that_publish_at_once_add_each_file_once(published: Output) -> None:
    commit(published, SECOND)
    together = threading.Barrier(3)

    def publish() -> None:
        output = Output(published.url)
        together.wait()
        output.publish(RUN_KEY)

    threads = [threading.Thread(target=publish) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert delta(published, "graphs").to_pyarrow_table().num_rows == 2
    assert delta(published, "graphs").version() == 1


def test_a_compacted_table_does_not_get_its_old_files_again(published: Output) -> None:
    commit(published, SECOND)
    published.publish(RUN_KEY)
    delta(published, "edges").optimize.compact()
    published.publish(RUN_KEY)
    assert delta(published, "edges").count() == published.dataset("edges").count_rows()


def test_columns_keep_their_meaning_in_the_log(published: Output) -> None:
    fields = {field.name: field.metadata for field in delta(published, "edges").schema().fields}
    assert fields["weight"]["meaning"] == TABLES["edges"].meaning("weight")


def test_a_damaged_log_is_named(tmp_path) -> None:
    output = Output(tmp_path)
    commit(output, FIRST)
    output.publish(RUN_KEY)
    for log in (tmp_path / "graphs" / "_delta_log").glob("*.json"):
        os.truncate(log, 10)
    with pytest.raises(StoreError, match=r"graphs/_delta_log/0+\.json is damaged(?s:.*)restore this file"):
        output.publish(RUN_KEY)
