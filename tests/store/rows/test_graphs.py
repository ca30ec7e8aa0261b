from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import attribute, prune
from pipeline.attribution.edge_paths import head_loadings
from pipeline.attribution.qk import qk_attribution
from pipeline.errors import StoreError
from pipeline.graph import EdgePath, stability
from pipeline.graph.attribution_graph import NodeKind, Target
from pipeline.results.stored_graph import EDGE_COLUMNS
from pipeline.store.rows.extra_columns import extra_columns_schema
from pipeline.store.rows.failures import failure_tables, join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.parquet import encode
from pipeline.store.rows.records import FailedPrompt
from schemas import TABLES
from tests.support.random_graphs import random_prompt
from tests.support.random_models import Recipe, random_model

EXTRA_COLUMNS = extra_columns_schema(pa.schema([("family", pa.string()), ("year", pa.int32())]))

prompts = st.builds(
    random_prompt,
    st.integers(0, 2**31),
    positions=st.integers(1, 12),
    features=st.integers(0, 80),
    edges=st.integers(0, 500),
)


@given(prompts)
@settings(max_examples=25, deadline=None)
def test_rows_have_the_schema_and_survive_parquet(prompt) -> None:
    tables = graph_tables(prompt)
    for name, rows in tables.items():
        rows.validate(full=True)
        assert rows.schema.equals(TABLES[name].schema, check_metadata=True)
        stored = pq.read_table(pa.BufferReader(encode(TABLES[name], rows)))
        assert stored.equals(rows)
        assert stored.schema.equals(rows.schema, check_metadata=True)


@given(prompts)
@settings(max_examples=25, deadline=None)
def test_every_edge_is_there_with_its_own_numbers(prompt) -> None:
    pruned = prompt.pruned
    nodes = list(zip(*(column.tolist() for column in node_columns(pruned)), strict=True))
    expected = {
        (nodes[source], nodes[target]): (weight, score)
        for source, target, weight, score in zip(
            *(
                column.tolist()
                for column in (pruned.source, pruned.target, pruned.weight, pruned.edge_influence)
            ),
            strict=True,
        )
    }
    assert edges_of(graph_tables(prompt)["edges"]) == expected


def test_a_file_does_not_show_the_pieces_that_its_rows_came_in() -> None:
    prompts = [graph_tables(random_prompt(seed)) for seed in range(40)]
    for name, rows in join_tables(prompts).items():
        assert rows.column(0).num_chunks == 40
        assert encode(TABLES[name], rows).equals(encode(TABLES[name], rows.combine_chunks()))


def node_columns(pruned):
    return pruned.kind, pruned.layer, pruned.position, pruned.feature


def edges_of(rows: pa.Table) -> dict:
    kinds = {kind.label: int(kind) for kind in NodeKind}

    def end(row: dict, name: str) -> tuple:
        layer, position, feature, token = (
            row[f"{name}_{part}"] for part in ("layer", "position", "feature", "token_id")
        )
        number = next((value for value in (feature, token) if value is not None), -1)
        return (kinds[row[f"{name}_kind"]], -1 if layer is None else layer, position, number)

    return {
        (end(row, "source"), end(row, "target")): (row["weight"], row["influence"])
        for row in rows.to_pylist()
    }


def test_edges_are_sorted_by_target_and_then_source() -> None:
    prompt = random_prompt(1)
    order = np.lexsort((prompt.pruned.source, prompt.pruned.target))
    rows = graph_tables(prompt)["edges"]
    assert rows["weight"].to_pylist() == prompt.pruned.weight[order].tolist()


def test_a_graph_row_says_what_was_found() -> None:
    prompt = random_prompt(
        2, peak_bytes=123, extra_columns={"family": "states", "year": 1999, "not a column": 1}
    )
    (row,) = graph_tables(prompt, EXTRA_COLUMNS)["graphs"].to_pylist()
    assert row["id"] == "prompt-2"
    target = dict.fromkeys(("rank", "layer", "position", "feature")) | {"token_weights": [1.0]}
    assert row["token_ids"] == prompt.graph.input_tokens.tolist()
    assert row["tokens"] == list(prompt.graph.token_strings)
    assert row["targets"] == [
        target | {"kind": "token", "label": " a", "weight": 0.75, "probability": 0.75, "token_ids": [7]},
        target | {"kind": "token", "label": " b", "weight": 0.125, "probability": 0.125, "token_ids": [9]},
    ]
    assert (row["positions"], row["kept_edges"]) == (8, 300)
    assert (row["kept_nodes"], row["active_features"]) == (
        len(prompt.pruned.kind),
        len(prompt.graph.activations),
    )
    assert (row["replacement_score"], row["completeness_score"]) == (0.75, 0.875)
    assert (row["pruned_replacement_score"], row["pruned_completeness_score"]) == (0.5, 0.625)
    assert (row["seconds_model"], row["seconds_rows"], row["seconds_pruning"]) == (0.5, 1.5, 0.25)
    assert (row["peak_bytes"], row["run_key"]) == (123, -7)
    assert (row["family"], row["year"]) == ("states", 1999)
    assert (
        row["torch_version"] == torch.__version__.partition("+")[0]
        or row["torch_version"] == torch.__version__
    )


def test_targets_that_are_no_tokens_are_told_by_their_numbers() -> None:
    targets = (
        Target("a - b", 500, 1.0, kind="difference", difference=(7, 9)),
        Target("2/350@3", 501, 0.5, kind="feature", layer=2, position=3, feature=350),
    )
    prompt = random_prompt(5, targets=targets)
    tables = graph_tables(prompt)
    difference, feature = tables["graphs"]["targets"][0].as_py()
    assert (difference["token_ids"], difference["token_weights"]) == ([7, 9], [1.0, -1.0])
    assert (feature["layer"], feature["position"], feature["feature"]) == (2, 3, 350)
    assert {target["probability"] for target in (difference, feature)} == {None}
    names = ("layer", "position", "feature", "token_id", "target_index")
    last = tables["nodes"].slice(tables["nodes"].num_rows - 2).to_pylist()
    assert [tuple(row[name] for name in names) for row in last] == [
        (4, 7, None, None, 0),
        (2, 3, 350, None, 1),
    ]
    explained = tables["edges"].filter(pc.field("target_kind") == "logit").to_pylist()
    assert {row["target_index"] for row in explained} == {0, 1}
    assert {row["target_feature"] for row in explained} == {None, 350}


def test_bfloat16_graphs_are_stored_as_float32() -> None:
    prompt = random_prompt(3)
    rounded = prompt.pruned.weight.bfloat16()
    tables = graph_tables(replace(prompt, pruned=replace(prompt.pruned, weight=rounded)))
    assert set(tables["edges"]["weight"].to_pylist()) == set(rounded.float().tolist())


def test_an_extra_value_of_another_type_is_named() -> None:
    prompt = random_prompt(4, extra_columns={"year": "last"})
    with pytest.raises(StoreError, match="column 'year': 'last' is not of the column's type int32"):
        graph_tables(prompt, EXTRA_COLUMNS)


def test_a_failure_is_stored_even_if_what_it_carries_is_what_failed() -> None:
    failed = FailedPrompt(
        5, "x", 6, None, "write", "StoreError", "bad", 2, {"family": "states", "year": "last"}
    )
    (row,) = failure_tables(failed, EXTRA_COLUMNS)["failures"].to_pylist()
    assert (row["prompt_key"], row["stage"], row["attempts"]) == (5, "write", 2)
    assert (row["text"], row["family"], row["year"]) == (None, "states", None)


def test_rows_of_a_shard_keep_the_order_of_its_prompts() -> None:
    shard = [random_prompt(seed) for seed in (3, 1, 2)]
    tables = join_tables(graph_tables(prompt) for prompt in shard)
    keys = [prompt.prompt_key for prompt in shard]
    for rows in tables.values():
        assert rows["prompt_key"].unique().to_pylist() == keys


def test_reconstruction_has_a_row_for_every_layer_and_position_that_can_have_features() -> None:
    prompt = random_prompt(6)
    graph = prompt.graph
    graph.reconstruction = found = replace(graph.reconstruction, zero_positions=1)
    rows = graph_tables(prompt)["reconstruction"].to_pylist()
    assert [(row["layer"], row["position"]) for row in rows] == [
        (i, t) for i in range(4) for t in range(1, 8)
    ]
    active = graph.active_features.tolist()
    for row in rows:
        layer, position = row["layer"], row["position"]
        assert row["active_features"] == sum(name[:2] == [layer, position] for name in active)
        assert row["error_norm"] == found.error_norms[layer, position].item()
        assert row["cosine"] == found.cosines[layer, position].item()
        assert row["position_from_end"] == 7 - position


def test_parts_of_a_score_name_their_components():
    model = random_model(Recipe("llama", layers=3))
    graph = attribute(model, [1, 7, 12, 30, 7, 25])
    pruned = prune(graph)
    found = qk_attribution(model, graph, pruned, head_loadings(model, graph, pruned), 2)
    prompt = replace(
        random_prompt(0, qk=found), graph=graph, pruned=pruned, stability=stability(graph, pruned)
    )
    rows = graph_tables(prompt)["qk"].to_pylist()
    assert len(rows) == len(found.score)
    active = {tuple(name) for name in graph.active_features.tolist()}
    totals: dict[tuple, float] = defaultdict(float)
    for row in rows:
        assert (row["attention"] is not None) == (row["part"] == "score")
        for side in ("query", "key"):
            layer, position, feature, token = (
                row[f"{side}_{name}"] for name in ("layer", "position", "feature", "token_id")
            )
            match row[f"{side}_kind"]:
                case "feature":
                    assert (layer, position, feature) in active
                    assert token is None
                case "error":
                    assert (feature, token) == (None, None)
                    assert layer < row["head_layer"]
                case "token":
                    assert (layer, feature) == (None, None)
                    assert token == int(graph.input_tokens[position])
                case _:
                    assert (layer, position, feature, token) == (None,) * 4
        totals[*(row[name] for name in ("head_layer", "head", "query_at", "key_at")), row["part"]] += row[
            "score"
        ]
    assert len(totals) == 2 * 4
    for name, total in totals.items():
        assert total == pytest.approx(totals[*name[:4], "score"], abs=1e-5)
    assert graph_tables(random_prompt(0, qk=None))["qk"].num_rows == 0


def test_loadings_name_their_edge_and_their_head():
    model = random_model(Recipe())
    graph = attribute(model, [1, 7, 12, 30, 7, 25])
    pruned = prune(graph)
    found = head_loadings(model, graph, pruned, 5)
    base = random_prompt(0)
    prompt = replace(
        base, graph=graph, pruned=pruned, stability=stability(graph, pruned), head_loadings=found
    )
    tables = graph_tables(prompt)
    edges = {tuple(row[name] for name in EDGE_COLUMNS): row for row in tables["edges"].to_pylist()}
    totals: dict[tuple, float] = defaultdict(float)
    for row, path, head in zip(
        tables["head_loadings"].to_pylist(), found.path.tolist(), found.head.tolist(), strict=True
    ):
        edge = edges[tuple(row[name] for name in EDGE_COLUMNS)]
        assert row["share"] == pytest.approx(row["loading"] / edge["weight"], rel=1e-5)
        assert (row["path"] == "head") == (path == EdgePath.HEAD) == (row["head_layer"] is not None)
        assert row["head"] == (head if path == EdgePath.HEAD else None)
        totals[tuple(row[name] for name in EDGE_COLUMNS)] += row["loading"]
    assert len(totals) == 5
    for name, total in totals.items():
        assert total == pytest.approx(edges[name]["weight"], rel=1e-4)
    assert graph_tables(replace(base, head_loadings=None))["head_loadings"].num_rows == 0
