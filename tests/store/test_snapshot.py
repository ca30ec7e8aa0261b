from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.errors import StoreError
from pipeline.store.commits.keys import shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import failure_tables, join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import FailedPrompt
from tests.support.random_graphs import random_prompt

RUN_KEY = -7


@pytest.fixture
def filled(output: Output) -> Output:
    """Three shards of two prompts, one of them a failure in the last."""
    output.claim({}, RUN_KEY, pa.schema([("family", pa.string())]))
    for number in range(3):
        prompts = [random_prompt(10 * number + i, extra_columns={"family": f"f{number}"}) for i in range(2)]
        rows = [graph_tables(prompt, output.extra_columns) for prompt in prompts]
        if number == 2:
            failed = FailedPrompt(
                1, "bad", RUN_KEY, "", "tokenize", "PromptError", "empty", extra_columns={"family": "f2"}
            )
            rows.append(failure_tables(failed, output.extra_columns))
        output.commit(shard_id([prompt.prompt_key for prompt in prompts], RUN_KEY), join_tables(rows))
    return output


def test_duckdb_answers_over_all_shards(filled: Output) -> None:
    asked = filled.duckdb().execute(
        "select family, count(*), sum(kept_edges) from graphs group by family order by family"
    )
    assert asked.fetchall() == [(f"f{number}", 2, 600) for number in range(3)]


def test_duckdb_joins_tables(filled: Output) -> None:
    asked = filled.duckdb().execute(
        "select count(*), count(distinct source_kind) from edges join graphs using (prompt_key) "
        "where family = 'f1'"
    )
    assert asked.fetchall() == [(600, 3)]


def test_a_failure_carries_its_columns(filled: Output) -> None:
    asked = filled.duckdb().execute("select id, family, message from failures")
    assert asked.fetchall() == [("bad", "f2", "empty")]


def test_an_empty_output_answers_with_no_rows(output: Output) -> None:
    connection = output.duckdb()
    for table in output.schemas:
        assert connection.execute(f"select * from {table}").fetchall() == []


def test_the_data_set_reads_only_what_is_asked(filled: Output) -> None:
    edges = filled.dataset("edges")
    strong = edges.to_table(columns=["weight"], filter=pc.field("weight") > 1.0)
    assert strong.column_names == ["weight"]
    assert 0 < len(strong) < edges.count_rows()
    assert edges.schema.field("weight").metadata[b"unit"]


def test_a_table_that_does_not_exist_is_named(filled: Output) -> None:
    with pytest.raises(StoreError, match="no such table: egdes; there are graphs"):
        filled.dataset("egdes")
