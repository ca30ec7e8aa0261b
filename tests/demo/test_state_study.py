"""The study of the built-in model's state features, on its shipped files and without Ray."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline import ReplacementModel, attribute, prune
from pipeline.builtin import PROMPTS
from pipeline.demo.state_study import Study, Swap, ablate_states, swap_states
from pipeline.graph import stability
from pipeline.intervention.mode import DEFAULT
from pipeline.store.commits.keys import prompt_key, shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import TracedPrompt

EXTRA_COLUMNS = ("family", "answer", "subject", "held_out")


@pytest.fixture(scope="module")
def model() -> ReplacementModel:
    return ReplacementModel.from_pretrained("demo", transcoders="demo", device="cpu")


@pytest.fixture(scope="module")
def output(model, tmp_path_factory) -> Output:
    """The tables of a sweep over the built-in two-hop prompts."""
    prompts = pq.read_table(PROMPTS, filters=[("family", "==", "two_hop")])
    output = Output(tmp_path_factory.mktemp("study"))
    output.claim({"model": "demo"}, 1, prompts.select(list(EXTRA_COLUMNS)).schema)
    rows = join_tables(graph_tables(_traced(model, row), output.extra_columns) for row in prompts.to_pylist())
    output.commit(shard_id(rows["graphs"]["prompt_key"].to_pylist(), 1), rows)
    return output


def _traced(model: ReplacementModel, row: dict) -> TracedPrompt:
    graph = attribute(model, row["prompt"])
    return TracedPrompt(
        prompt_key=prompt_key(graph.input_tokens.tolist()),
        id=row["id"],
        run_key=1,
        graph=graph,
        pruned=(pruned := prune(graph)),
        stability=stability(graph, pruned),
        replacement_score=0.0,
        completeness_score=0.0,
        unexpanded_influence=0.0,
        dropped_share=0.0,
        constants_share=0.0,
        pruning_seconds=0.0,
        extra_columns={name: row[name] for name in EXTRA_COLUMNS},
    )


@pytest.fixture(scope="module")
def lenient(model, output) -> Study:
    return Study.of(model, output, 0.3)


def test_selective_features_are_what_the_tables_say(model, output):
    study = Study.of(model, output, 0.01)
    last = output.duckdb().sql(
        "select subject, layer, feature, count(*) from activations join graphs using (prompt_key) "
        "where position = positions - 1 group by all"
    )
    active = {(state, layer, feature): count for state, layer, feature, count in last.fetchall()}
    sizes = dict(output.duckdb().sql("select subject, count(*) from graphs group by all").fetchall())
    assert study.features
    for state, items in study.features.items():
        for item in items:
            own = active[state, item.layer, item.feature]
            everywhere = sum(n for (_, *place), n in active.items() if place == [item.layer, item.feature])
            assert own >= 0.8 * sizes[state]
            assert everywhere - own <= 0.01 * (sum(sizes.values()) - sizes[state])


def test_the_lenient_choice_holds_the_strict_one(model, output, lenient):
    assert lenient.states_by_layer() == [50] * 4
    for state, items in Study.of(model, output, 0.01).features.items():
        assert set(items) <= set(lenient.features[state])


def test_ablating_a_states_features_lowers_its_capital_more_than_matched_sets(lenient):
    found = ablate_states(lenient, DEFAULT, draws=20)
    assert len(found) == len(lenient.prompts) == 70
    assert np.mean([item.above_null for item in found]) >= 0.95
    assert 0.7 < np.median([item.size_ratio for item in found]) < 1.3
    # Removal alone does not show that the answer hangs on them: it mostly stands.
    assert np.mean([item.flipped for item in found]) < 0.2


@pytest.fixture(scope="module")
def swaps(lenient) -> list[Swap]:
    return swap_states(lenient, DEFAULT)


def test_swapping_in_another_state_moves_the_answer_to_its_capital(swaps):
    moved = {way: np.mean([swap.moved[way] for swap in swaps]) for way in swaps[0].moved}
    assert moved["all layers"] >= 0.95
    assert moved["early layers"] >= 0.5
    assert moved["city token"] < 0.05
    assert moved["mixed states"] < 0.05


def test_the_same_seed_gives_the_same_study(lenient, swaps):
    assert swap_states(lenient, DEFAULT) == swaps
    assert [swap.other for swap in swap_states(lenient, DEFAULT, seed=2)] != [swap.other for swap in swaps]
