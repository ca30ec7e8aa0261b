"""The demo's tables hold what version 0.1 wrote, under the names and with the nulls of today."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import ReplacementModel, attribute, prune
from pipeline.builtin import MODEL, PROMPTS, TRANSCODERS
from pipeline.graph import stability
from pipeline.store.commits.keys import prompt_key
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import TracedPrompt
from tests.support.table_digest import MEASURED, digest, of_format_2

VERSION_0_1 = Path(__file__).parents[2] / "golden" / "demo_tables_0.1.json"
"""Digest of the output of `circuit-sweep run demo`, version 0.1, on an x86-64 with AVX-512."""

ON_THE_EDGE = 0.01
"""Share of prompts in which a last bit of another processor may decide what pruning keeps."""


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    """The rows of every prompt of the demo, each once."""
    model = ReplacementModel.from_pretrained(MODEL, transcoders=TRANSCODERS, device="cpu")
    prompts = {}
    for row in pq.read_table(PROMPTS, columns=["id", "prompt"]).to_pylist():
        tokens = model.ensure_tokenized(row["prompt"]).tolist()
        prompts.setdefault(prompt_key(tokens), row)
    return join_tables(graph_tables(_traced(model, key, row)) for key, row in prompts.items())


def _traced(model: ReplacementModel, key: int, row: dict[str, str]) -> TracedPrompt:
    graph = attribute(model, row["prompt"])
    replacement, completeness = graph.scores()
    return TracedPrompt(
        prompt_key=key,
        id=row["id"],
        run_key=0,
        graph=graph,
        pruned=(pruned := prune(graph)),
        stability=stability(graph, pruned),
        replacement_score=replacement,
        completeness_score=completeness,
        unexpanded_influence=graph.unexpanded_influence(),
        dropped_share=graph.edges.dropped_share(),
        constants_share=graph.constants_share(),
        pruning_seconds=0.0,
    )


@pytest.fixture(scope="module")
def expected() -> dict[str, dict]:
    return json.loads(VERSION_0_1.read_text())


@pytest.fixture(scope="module")
def found(tables: dict[str, pa.Table]) -> dict[str, dict]:
    return digest(of_format_2(tables))


@pytest.mark.parametrize("table", MEASURED)
def test_every_prompt_has_the_rows_of_version_0_1(table: str, found: dict, expected: dict) -> None:
    now, then = (_prompts(rows[table]) for rows in (found, expected))
    assert len(now) == len(then)
    differ = sum(a != b for a, b in zip(now, then, strict=True))
    assert differ <= ON_THE_EDGE * len(then)


@pytest.mark.parametrize("table", MEASURED)
def test_measured_columns_sum_to_those_of_version_0_1(table: str, found: dict, expected: dict) -> None:
    for name, (total, size) in expected[table]["sums"].items():
        assert found[table]["sums"][name] == pytest.approx([total, size], abs=1e-5 * size)


def _prompts(rows: dict) -> list[str]:
    """Return the hash of each prompt, in the order of their keys."""
    return [rows["prompts"][first : first + 6] for first in range(0, len(rows["prompts"]), 6)]


def test_columns_that_a_node_has_no_use_for_are_null(tables: dict[str, pa.Table]) -> None:
    nodes = tables["nodes"].select(["kind", "layer", "feature", "token_id", "target_index"])
    names = {"feature": 0b1100, "error": 0b1000, "token": 0b0010, "logit": 0b1011}
    for row in nodes.to_pylist():
        kind, *values = row.values()
        assert "".join(str(int(value is not None)) for value in values) == f"{names[kind]:04b}"


def test_the_prediction_is_the_first_target_where_targets_are_the_likeliest(
    tables: dict[str, pa.Table],
) -> None:
    for row in tables["graphs"].to_pylist():
        first = row["targets"][0]
        assert (row["prediction"], [row["prediction_id"]]) == (first["label"], first["token_ids"])
        assert row["prediction_probability"] == first["probability"]
        assert [target["rank"] for target in row["targets"]] == [*range(1, len(row["targets"]) + 1)]


def test_kept_edges_are_shares_of_their_target_s_total_input(tables: dict[str, pa.Table]) -> None:
    nodes = tables["nodes"].filter(pa.compute.is_valid(tables["nodes"]["total_input"]))
    total = {_name(row): row["total_input"] for row in nodes.to_pylist()}
    kept: dict[tuple, float] = {}
    for row in tables["edges"].to_pylist():
        name = _name({key.removeprefix("target_"): value for key, value in row.items()})
        kept[name] = kept.get(name, 0.0) + abs(row["weight"])
    assert kept.keys() <= total.keys()
    assert all(size <= total[name] * (1 + 1e-5) for name, size in kept.items())


def _name(row: dict) -> tuple:
    return tuple(row[name] for name in ("prompt_key", "kind", "layer", "position", "feature", "token_id"))
