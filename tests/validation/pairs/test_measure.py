"""Patches between the prompts of a pair, against brute force and on models whose circuits are known."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import ReplacementModel
from pipeline.attribution import Difference, attribute
from pipeline.benchmark.planted import PROMPTS, write_planted
from pipeline.errors import PromptError
from pipeline.graph import NodeKind, prune
from pipeline.hub import Neurons
from pipeline.model import TracedTokens
from pipeline.validation.pairs import Edge, Pair, PairMeasured, measure_pair
from pipeline.validation.pairs.config import PairTests
from tests.support.random_models import Recipe, random_model

PROMPT, PARTNER = [1, 7, 12, 30, 7, 25], [1, 7, 21, 9, 7, 25]
ANSWER, RIVAL = 3, 8
EVERYTHING = PairTests(features=1000, paths=1000)
Cell = tuple[int, int, int]


def kept(
    model: ReplacementModel, tokens: Sequence[int], rival: bool = True
) -> tuple[dict[Cell, float], list[Edge]]:
    """Features and edges of a pruned graph, which explains the difference of the answers."""
    pruned = prune(
        attribute(model, TracedTokens(tokens), [Difference(ANSWER, RIVAL)] if rival else None), 0.95, 0.99
    )
    cells = list(zip(pruned.layer.tolist(), pruned.position.tolist(), pruned.feature.tolist(), strict=True))
    is_feature = (pruned.kind == NodeKind.FEATURE).tolist()
    features = {
        cell: amount
        for cell, amount, here in zip(cells, pruned.influence.tolist(), is_feature, strict=True)
        if here
    }
    edges = [
        Edge(cells[source], cells[target] if is_feature[target] else None, amount)
        for source, target, amount in zip(
            pruned.source.tolist(), pruned.target.tolist(), pruned.edge_influence.tolist(), strict=True
        )
        if is_feature[source]
    ]
    return features, edges


def measured(
    model: ReplacementModel, prompt: Sequence[int] = PROMPT, partner: Sequence[int] = PARTNER, **options: Any
) -> PairMeasured:
    features, edges = kept(model, prompt)
    pair = Pair(tuple(prompt), tuple(partner), ANSWER, RIVAL, features, kept(model, partner)[0], edges)
    return measure_pair(model, pair, EVERYTHING.model_copy(update=options))


@contextmanager
def held(model: ReplacementModel, values: dict[Cell, float]):
    """Hold features at values by plain hooks on the MLPs of a per-layer dictionary with ReLU."""

    def change(layer: int, position: int, feature: int, value: float):
        dictionary = model.transcoders.layers[layer]
        written = dictionary.decoder_rows(torch.tensor([feature]), 0)[0]

        def hook(module, args, output):
            now = (
                args[0][0, position] @ dictionary.encoder[feature] + dictionary.encoder_bias[feature]
            ).relu()
            output[0, position] += (value - now) * written
            return output

        return model.model.model.layers[layer].mlp.register_forward_hook(hook)

    with ExitStack() as stack:
        for cell, value in values.items():
            stack.callback(change(*cell, value).remove)
        yield


@torch.inference_mode()
def value(model: ReplacementModel, tokens: Sequence[int], values: dict[Cell, float] | None = None) -> float:
    with held(model, values or {}):
        logits = model.model(input_ids=torch.tensor([tokens])).logits[0, -1]
    return float(logits[ANSWER] - logits[RIVAL])


def activations(model: ReplacementModel, tokens: Sequence[int]) -> dict[Cell, float]:
    graph = attribute(model, TracedTokens(tokens))
    return dict(zip(map(tuple, graph.active_features.tolist()), graph.activations.tolist(), strict=True))


def test_patches_are_what_hooks_in_the_model_do() -> None:
    model = random_model(Recipe(layers=3))
    found = measured(model)
    clean, others = value(model, PROMPT), value(model, PARTNER)
    assert found.pair["value"] == pytest.approx(clean, abs=1e-9)
    assert found.pair["stake"] == pytest.approx(clean - others, abs=1e-9)
    own, partners = activations(model, PROMPT), activations(model, PARTNER)
    circuit = {**kept(model, PARTNER)[0], **kept(model, PROMPT)[0]}
    assert found.pair["features"] == len(circuit)
    for column, values in (
        ("free_recovered", {cell: partners.get(cell, 0.0) for cell in circuit}),
        ("free_zero_recovered", dict.fromkeys(circuit, 0.0)),
        ("free_all_recovered", {cell: partners.get(cell, 0.0) for cell in {**own, **partners}}),
    ):
        expected = (clean - value(model, PROMPT, values)) / (clean - others)
        assert found.pair[column] == pytest.approx(expected, abs=1e-9)
    features = [row for row in found.effects if row["patch"] == "feature"]
    assert len(features) == found.pair["changed"] > 10
    for row in features:
        cell = row["layer"], row["position"], row["feature"]
        assert row["activation"] == pytest.approx(own.get(cell, 0.0), abs=1e-9)
        assert row["partner_activation"] == pytest.approx(partners.get(cell, 0.0), abs=1e-9)
        fall = clean - value(model, PROMPT, {cell: partners.get(cell, 0.0)})
        assert row["free_effect"] == pytest.approx(fall, abs=1e-9)
        zero = (clean - value(model, PROMPT, {cell: 0.0})) / found.pair["stake"]
        assert row["free_zero_recovered"] == pytest.approx(zero, abs=1e-9)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(layers=3),
        Recipe("gpt2", layers=3, key_value_heads=4),
        Recipe(layers=3, cross_layer=True, skip=True),
    ],
)
def test_a_target_hears_of_its_source_over_their_edge_alone(recipe: Recipe) -> None:
    """The edges come from the attribution engine, the activations from interventions."""
    model = random_model(recipe)
    found, graph = measured(model), attribute(model, TracedTokens(PROMPT), [Difference(ANSWER, RIVAL)])
    edges, index = graph.dense(), {tuple(cell): i for i, cell in enumerate(graph.active_features.tolist())}
    paths = [row for row in found.effects if row["patch"] == "path"]
    kinds = [row["target_kind"] for row in paths]
    assert min(kinds.count("feature"), kinds.count("logit")) > 3
    for row in paths:
        source = index[row["layer"], row["position"], row["feature"]]
        share = row["partner_activation"] / row["activation"] - 1
        if row["target_kind"] == "logit":
            assert row["held_effect"] == pytest.approx(-share * float(edges[-1, source]), abs=1e-8)
            assert "free_effect" not in row
            continue
        target = row["target_layer"], row["target_position"], row["target_feature"]
        heard = row["target_activation"] + share * float(edges[index[target], source])
        assert row["target_patched"] == pytest.approx(max(heard, 0.0), abs=1e-8)
        if recipe == Recipe(layers=3):
            fall = value(model, PROMPT) - value(model, PROMPT, {target: row["target_patched"]})
            assert row["free_effect"] == pytest.approx(fall, abs=1e-9)


def test_a_partner_that_is_the_same_changes_nothing() -> None:
    found = measured(random_model(Recipe(layers=3)), partner=PROMPT)
    assert found.pair["stake"] == 0
    assert not found.pair["is_at_stake"]
    assert found.pair["changed"] == 0
    assert found.pair["held_recovered"] is None
    assert found.effects == []


def test_partners_of_another_length_are_refused_or_aligned_from_the_end() -> None:
    model = random_model(Recipe(layers=2))
    longer = [1, 14, 33, *PARTNER[1:]]
    with pytest.raises(PromptError, match=r"6 positions and its partner 8.*--align end"):
        measured(model, partner=longer)
    found = measured(model, partner=longer, align="end")
    partners = activations(model, longer)
    for row in found.effects:
        if row["patch"] == "feature":
            expected = partners.get((row["layer"], row["position"] + 2, row["feature"]), 0.0)
            assert row["partner_activation"] == pytest.approx(expected, abs=1e-9)
    # Of the longer prompt, its first words have nothing beside them.
    mirrored = measured(model, prompt=longer, partner=PARTNER, align="end")
    assert mirrored.pair["unaligned"] > 0
    assert min(row["position"] for row in mirrored.effects) >= 3


def test_the_same_answer_leaves_nothing_to_recover() -> None:
    pair = Pair((1, 7), (1, 8), ANSWER, ANSWER, {}, {})
    with pytest.raises(PromptError, match=r"attribution\.targets\.column"):
        measure_pair(random_model(Recipe()), pair, PairTests())


@pytest.fixture(scope="module", params=[0.0, 0.05], ids=["no noise", "noise"])
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("planted")
    truths = write_planted(Path(folder), request.param)
    return ReplacementModel.from_pretrained(str(folder), transcoders=Neurons().name, device="cpu"), truths


def planted_pair(model: ReplacementModel, one: str, other: str) -> PairMeasured:
    graphs = [attribute(model, text) for text in (one, other)]
    answers = [graph.prediction.token_id for graph in graphs]
    found = []
    for graph in graphs:
        pruned = prune(graph, 0.95, 0.99)
        is_feature = (pruned.kind == NodeKind.FEATURE).tolist()
        cells = list(
            zip(pruned.layer.tolist(), pruned.position.tolist(), pruned.feature.tolist(), strict=True)
        )
        found.append(
            {c: a for c, a, here in zip(cells, pruned.influence.tolist(), is_feature, strict=True) if here}
        )
    ids = [tuple(graph.input_tokens.tolist()) for graph in graphs]
    return measure_pair(model, Pair(*ids, *answers, *found), PairTests(features=200))


LEFT = 0.1
"""Share that norms carry, and noise neurons where there are some."""

PLANTED = [
    ("capital of Dallas is", "capital of Toledo is", "Texas", "Ohio"),
    ("when Ann and Bob went Ann gave to", "when Bob and Ann went Bob gave to", "Bob", "Ann"),
]


@pytest.mark.parametrize(("one", "other", "mine", "theirs"), PLANTED)
def test_what_was_planted_carries_the_difference_and_distractors_nothing(
    planted: Any, one: str, other: str, mine: str, theirs: str
) -> None:
    model, truths = planted
    assert {one, other} <= {text for text, _ in PROMPTS}
    found = planted_pair(model, one, other)
    assert found.pair["stake"] > 1
    assert found.pair["held_recovered"] == pytest.approx(1, abs=0.1)
    assert found.pair["held_all_recovered"] == pytest.approx(1, abs=0.05)
    # The competitor takes the answer away, but does not put the partner's in its place.
    assert found.pair["held_zero_recovered"] < 0.75
    circuits = truths[mine].nodes | truths[theirs].nodes
    for row in found.effects:
        if (row["layer"], row["feature"]) not in circuits:
            assert abs(row["held_recovered"]) < LEFT
    largest = max(found.effects, key=lambda row: abs(row["held_recovered"]))
    assert (largest["layer"], largest["feature"]) in circuits
    assert abs(largest["held_recovered"]) > 0.2


def test_distractors_alone_recover_nothing(planted: Any) -> None:
    model, truths = planted
    one, other = (attribute(model, text) for text, *_ in zip(PLANTED[0][:2]))
    circuits = truths["Texas"].nodes | truths["Ohio"].nodes
    outside = {
        tuple(c): 1.0
        for g in (one, other)
        for c in g.active_features.tolist()
        if (c[0], c[2]) not in circuits
    }
    ids = [tuple(graph.input_tokens.tolist()) for graph in (one, other)]
    pair = Pair(*ids, one.prediction.token_id, other.prediction.token_id, outside, {})
    found = measure_pair(model, pair, PairTests(features=0))
    assert found.pair["features"] >= 4
    assert abs(found.pair["held_recovered"]) < LEFT
    assert np.isclose(found.pair["held_all_recovered"], 1, atol=0.05)
