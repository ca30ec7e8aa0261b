from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline import ReplacementModel, attribute
from pipeline.aggregates.coactivation.coactivation import featured_positions
from pipeline.aggregates.coactivation.nearest import neighbours
from pipeline.aggregates.coactivation.sums import merge_pairs, merge_singles, sum_pairs, sum_singles
from pipeline.aggregates.coactivation.virtual_weights import virtual_weights, weigh_pairs
from pipeline.store.aggregate_info import PairsInfo
from pipeline.store.aggregate_results import AggregateResult
from pipeline.store.output import Output
from pipeline.store.table_parts import table_parts
from tests.support.outputs import write_output
from tests.support.random_models import Recipe, random_model
from tests.support.recipes import GEMMA_4, recipe_name

LEAST = 3


def paired(output: Output, part_bytes: int, partitions: int) -> pa.Table:
    todo = list(table_parts(output.snapshot(), "activations", part_bytes))
    singles = merge_singles([sum_singles(part, None) for part in todo], LEAST)
    sums = [sum_pairs(part, None, singles, partitions) for part in todo]
    merged = [merge_pairs([s[n] for s in sums], singles, LEAST, 160) for n in range(partitions)]
    return pa.concat_tables(merged)


@pytest.mark.parametrize(("part_bytes", "partitions"), [(1, 3), (1 << 30, 1)])
def test_sums_over_sparse_pairs_are_those_of_the_whole_matrix(
    tmp_path, part_bytes: int, partitions: int
) -> None:
    output = write_output(tmp_path / "output", range(20), ["a"], features=1200)
    rows = output.dataset("activations").to_table()
    _, place = np.unique(
        np.stack([rows["prompt_key"], rows["position"]], axis=1), axis=0, return_inverse=True
    )
    layers, features = rows["layer"].to_numpy().astype(int), rows["feature"].to_numpy()
    dense = np.zeros((160, 4 * 1024))
    dense[place.ravel(), layers * 1024 + features] = rows["activation"]
    active = (dense > 0).astype(float)
    together, products = active.T @ active, dense.T @ dense
    source, target = np.nonzero(np.triu(together >= LEAST, k=1))
    found = paired(output, part_bytes, partitions)
    ends = [
        found[f"{end}_layer"].to_numpy() * 1024 + found[f"{end}_feature"].to_numpy()
        for end in ("source", "target")
    ]
    order = np.lexsort(ends[::-1])
    assert len(source) > 50
    np.testing.assert_array_equal(ends[0][order], source)
    np.testing.assert_array_equal(ends[1][order], target)
    n_s, n_t, n = active.sum(axis=0)[source], active.sum(axis=0)[target], together[source, target]
    expected = {
        "n_coactive": n,
        "source_active": n_s,
        "jaccard": n / (n_s + n_t - n),
        "npmi": np.log(n / 160 / (n_s / 160 * n_t / 160)) / -np.log(n / 160),
        "source_given_target": products[source, target] / dense.sum(axis=0)[target],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].to_numpy()[order], values, rtol=1e-6, err_msg=name)


def test_neighbours_are_found_from_either_end(tmp_path) -> None:
    output = write_output(tmp_path / "output", range(8), ["a"], features=900)
    pairs = paired(output, 1 << 30, 1)
    nothing = pa.nulls(pairs.num_rows, pa.float64())
    pairs = pairs.append_column("virtual_weight", nothing).append_column("twera", nothing)
    result = AggregateResult.of(output.snapshot(), "pairs", {"min_support": LEAST})
    result.commit({"feature_pairs": [result.write("feature_pairs", pairs, 0)]}, PairsInfo(positions=64))
    best = max(pairs.to_pylist(), key=lambda row: row["npmi"])
    for one, other in (("source", "target"), ("target", "source")):
        found = neighbours(result, best[f"{one}_layer"], best[f"{one}_feature"], 500).to_pylist()
        assert found[0]["npmi"] == best["npmi"]
        assert best[f"{other}_feature"] in {row["feature"] for row in found if row["npmi"] == best["npmi"]}
        assert [row["npmi"] for row in found] == sorted((row["npmi"] for row in found), reverse=True)


def without_attention(recipe: Recipe) -> ReplacementModel:
    """A random model whose attention writes nothing: positions are on their own."""
    random = random_model(recipe)
    for layer in random.model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
    return ReplacementModel.assemble(
        random.name, random.model, random.tokenizer, random.architecture, random.transcoders
    )


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(layers=3),
        Recipe(layers=3, cross_layer=True),
        replace(GEMMA_4[1], skip=False, input_hook="mlp.hook_in"),
    ],
    ids=recipe_name,
)
def test_without_attention_an_edge_is_virtual_weight_times_activation_over_the_norm(recipe: Recipe) -> None:
    model = without_attention(recipe)
    tokens = torch.tensor([1, 5, 7, 9])
    graph, frozen = attribute(model, tokens), model.freeze(tokens)
    edges = graph.dense()
    place = graph.active_features
    target, source = (
        (place[:, None, 1] == place[None, :, 1]) & (place[:, None, 0] > place[None, :, 0])
    ).nonzero(as_tuple=True)
    assert len(source) > 20
    weights = virtual_weights(model, place[source][:, [0, 2]].numpy(), place[target][:, [0, 2]].numpy())
    scales = torch.stack([layer.read_scale for layer in frozen.layers])[place[target, 0], place[target, 1]]
    expected = weights * (graph.activations[source] * scales).numpy()
    np.testing.assert_allclose(edges[target, source].numpy(), expected, rtol=1e-6, atol=1e-9)


def test_pairs_within_a_layer_have_no_weight() -> None:
    model = random_model(Recipe())
    pairs = pa.table(
        {
            "source_layer": [0, 0],
            "source_feature": [1, 1],
            "target_layer": [0, 1],
            "target_feature": [2, 2],
            "source_given_target": [0.5, 0.5],
        }
    )
    found = weigh_pairs(pairs, model).to_pylist()
    assert found[0]["virtual_weight"] is found[0]["twera"] is None
    assert found[1]["twera"] == pytest.approx(found[1]["virtual_weight"] / 2)


def test_positions_without_features_tie_no_pair() -> None:
    """Independent at 40 positions that can carry features; the opening tokens of 10 prompts cannot."""
    pair = dict(
        zip(
            ("source_layer", "source_feature", "target_layer", "target_feature"),
            [[0], [1], [1], [2]],
            strict=True,
        )
    )
    sums = [{"pairs": pa.table(pair | {"n": [10], "product": [10.0]})}]
    singles = pa.table({"layer": [0, 1], "feature": [1, 2], "n": [20, 20], "activation": [20.0, 20.0]})
    lengths = pa.chunked_array([[5] * 10])
    positions = featured_positions(lengths, 1)
    assert (positions, featured_positions(lengths, 7)) == (40, 0)
    assert merge_pairs(sums, singles, 1, positions)["npmi"].to_pylist() == [0.0]
    assert merge_pairs(sums, singles, 1, 50)["npmi"].to_pylist()[0] > 0.1  # all positions
    # A planted pair, always together.
    sums = [{"pairs": pa.table(pair | {"n": [20], "product": [20.0]})}]
    assert merge_pairs(sums, singles, 1, positions)["npmi"].to_pylist() == [pytest.approx(1.0)]
