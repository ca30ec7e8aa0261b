"""QK attribution against autograd through a pinned copy, and against the model's own attention."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import ReplacementModel, attribute, prune
from pipeline.attribution import explain_scores, head_loadings, qk_attribution, strongest_looks
from pipeline.attribution.qk import LARGEST_PAIRS
from pipeline.graph import Component, EdgePath, QKAttribution, ScorePart
from pipeline.model import QueriesKeys
from tests.support.attention_scores import BruteForce
from tests.support.pretend_devices import on_devices
from tests.support.random_models import VOCABULARY, Recipe, random_model
from tests.support.recipes import GEMMA_4, RECIPES, TOKENS, recipe_name

NEURONS = [
    Recipe("gpt2", key_value_heads=4, activation="neurons", options=(("activation_function", "relu"),)),
    *(Recipe(name, activation="neurons") for name in ("llama", "qwen3", "gemma2")),
]

PARTS = (ScorePart.PAIR, ScorePart.QUERY, ScorePart.KEY)


def _rows(found: QKAttribution, part: ScorePart) -> list[tuple[tuple, tuple, float, float]]:
    mine = (found.part == part).nonzero()[:, 0].tolist()
    return [
        (
            tuple(found.query_component[row].tolist()),
            tuple(found.key_component[row].tolist()),
            float(found.score[row]),
            float(found.contrast[row]),
        )
        for row in mine
    ]


def _sums_hold(found: QKAttribution, scale: float) -> None:
    ((_, _, score, contrast),) = _rows(found, ScorePart.SCORE)
    for part in PARTS:
        rows = _rows(found, part)
        assert sum(row[2] for row in rows) == pytest.approx(score, abs=1e-5 * scale)
        assert sum(row[3] for row in rows) == pytest.approx(contrast, abs=1e-5 * scale, nan_ok=True)


@pytest.mark.parametrize("recipe", [*RECIPES, *NEURONS], ids=recipe_name)
def test_every_part_is_what_autograd_says_and_all_sum_to_the_model_s_score(recipe):
    model = random_model(recipe)
    graph = attribute(model, TOKENS)
    brute = BruteForce(model, graph)
    number = {name: index for index, name in enumerate(brute.names)}
    watched = QueriesKeys(model, graph.input_tokens)
    top = model.n_layers - 1
    for look in ((top, 1, 5, 4), (top, 3, 4, 3), (top - 1, 2, 5, 5), (0, 0, 3, 2)):
        found = explain_scores(model, graph, [look])
        score, contrast = brute.pairs(*look)
        scale = float(score.abs().max() + contrast.abs().max())
        layer, head, query, key = look
        expected = watched.layers[layer].score(head, query, key)
        assert float(score.sum()) == pytest.approx(expected, rel=1e-5, abs=1e-6 * scale)
        ((_, _, whole, whole_contrast),) = _rows(found, ScorePart.SCORE)
        assert whole == pytest.approx(expected, rel=1e-5, abs=1e-6 * scale)
        assert whole_contrast == pytest.approx(float(contrast.sum()), rel=1e-5, abs=1e-5 * scale)
        _sums_hold(found, scale)
        dense = {
            ScorePart.PAIR: (score, contrast),
            ScorePart.QUERY: (score.sum(1), contrast.sum(1)),
            ScorePart.KEY: (score.sum(0), contrast.sum(0)),
        }
        for part in PARTS:
            for of_query, of_key, *values in _rows(found, part):
                if Component.OTHER in (of_query[0], of_key[0]):
                    continue
                index = tuple(number[name] for name in (of_query, of_key) if name[0] != Component.WHOLE)
                for value, whole in zip(values, dense[part], strict=True):
                    assert value == pytest.approx(float(whole[index]), abs=1e-5 * scale)
        for column, values in ((2, score), (3, contrast)):
            # Pairs of nothing are not listed.
            listed = torch.zeros(3 * LARGEST_PAIRS, dtype=torch.float64)
            sizes = [abs(row[column]) for row in _rows(found, ScorePart.PAIR)[:-1]]
            listed[: len(sizes)] = torch.tensor(sizes, dtype=torch.float64)
            largest = values.abs().flatten().topk(LARGEST_PAIRS).values
            torch.testing.assert_close(listed.topk(LARGEST_PAIRS).values, largest, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize("recipe", RECIPES, ids=recipe_name)
def test_scores_are_those_that_the_model_s_attention_is_made_of(recipe):
    model = random_model(recipe)
    cap = getattr(model.model.config, "attn_logit_softcapping", None)
    for index, layer in enumerate(QueriesKeys(model, torch.tensor(TOKENS)).layers):
        key = layer.key.repeat_interleave(len(layer.query) // len(layer.key), 0)
        scores = layer.query @ key.transpose(1, 2) * layer.scaling
        scores = scores if cap is None else (scores / cap).tanh() * cap
        scores = scores.masked_fill(~layer.visible, -torch.inf)
        if recipe.model_type == "gpt_oss":
            sinks = model.model.model.layers[index].self_attn.sinks[:, None, None].expand(-1, len(TOKENS), 1)
            scores = torch.cat((scores, sinks), 2)
        pattern = scores.softmax(2)[:, :, : len(TOKENS)]
        torch.testing.assert_close(pattern, layer.pattern.to(pattern), atol=1e-6, rtol=1e-5)
    assert model.model.config._attn_implementation == "eager"


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Recipe, list[int]]:
    groups = draw(st.sampled_from([1, 2]))
    recipe = Recipe(
        model_type=draw(st.sampled_from(["llama", "qwen3", "gemma2", "mistral", "olmo2"])),
        layers=draw(st.integers(1, 3)),
        heads=2 * groups,
        key_value_heads=2,
        activation=draw(st.sampled_from(["relu", "topk"])),
        cross_layer=draw(st.booleans()),
        seed=draw(st.integers(0, 2**31)),
    )
    return recipe, [1, *draw(st.lists(st.integers(3, VOCABULARY - 1), min_size=2, max_size=7))]


@settings(max_examples=20, deadline=None)
@given(scene=scenes())
def test_components_come_from_before_and_sums_hold(scene):
    recipe, tokens = scene
    model = random_model(recipe)
    graph = attribute(model, tokens)
    pruned = prune(graph)
    found = qk_attribution(model, graph, pruned, head_loadings(model, graph, pruned), 3)
    for part in (ScorePart.PAIR, ScorePart.QUERY, ScorePart.KEY):
        mine = found.part == part
        for components, last in ((found.query_component, found.query), (found.key_component, found.key)):
            named = mine & (components[:, 0] <= Component.TOKEN)
            assert (components[named, 1] < found.layer[named]).all()
            # A key's component may be later than the key where it makes another key more likely.
            latest = found.query[named] if last is found.key else last[named]
            assert (components[named, 2] <= latest).all()
            after = named & (components[:, 2] > last)
            torch.testing.assert_close(found.score[after], torch.zeros_like(found.score[after]))
    for index in (found.part == ScorePart.SCORE).nonzero()[:, 0].tolist():
        same = torch.stack(
            [column == column[index] for column in (found.layer, found.head, found.query, found.key)]
        ).all(0)
        for part in PARTS:
            rows = same & (found.part == part)
            size = float(found.score[rows].abs().sum()) + 1
            assert abs(float(found.score[rows].sum() - found.score[index])) < 1e-6 * size


def test_permuted_heads_have_permuted_scores():
    recipe = Recipe("llama", key_value_heads=4)
    model, other = random_model(recipe), random_model(recipe)
    order = [2, 0, 3, 1]
    for layer in other.model.model.layers:
        attention = layer.self_attn
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
            projection.weight.copy_(projection.weight.clone().unflatten(0, (4, -1))[order].flatten(0, 1))
        attention.o_proj.weight.copy_(
            attention.o_proj.weight.clone().unflatten(1, (4, -1))[:, order].flatten(1, 2)
        )
    # The linear maps are folded when a model is assembled.
    parts = other.name, other.model, other.tokenizer, other.architecture, other.transcoders
    other = ReplacementModel.assemble(*parts)
    for head in range(4):
        mine = explain_scores(model, attribute(model, TOKENS), [(1, order[head], 5, 2)])
        theirs = explain_scores(other, attribute(other, TOKENS), [(1, head, 5, 2)])
        assert torch.equal(mine.query_component, theirs.query_component)
        torch.testing.assert_close(mine.score, theirs.score, atol=1e-6, rtol=1e-5)


def test_heads_that_carry_most_are_explained():
    model = random_model(RECIPES[0])
    graph = attribute(model, TOKENS)
    pruned = prune(graph)
    loadings = head_loadings(model, graph, pruned, 5, least_share=0.0)
    carried: dict[tuple, float] = {}
    for row in range(len(loadings.edge)):
        if loadings.path[row] == EdgePath.HEAD:
            edge = int(loadings.edge[row])
            at = int(pruned.position[pruned.target[edge]])
            look = (int(loadings.layer[row]), int(loadings.head[row]), at, int(loadings.key[row]))
            share = abs(float(loadings.loading[row]) / float(pruned.weight[edge]))
            carried[look] = carried.get(look, 0) + share * float(pruned.edge_influence[edge])
    looks = strongest_looks(pruned, loadings, 3)
    assert looks == sorted(carried, key=lambda look: -carried[look])[:3]
    found = qk_attribution(model, graph, pruned, loadings, 3)
    assert int((found.part == ScorePart.SCORE).sum()) == 3
    assert len(qk_attribution(model, graph, pruned, loadings, 0).layer) == 0


def test_the_first_position_has_no_contrast():
    model = random_model(RECIPES[0])
    found = explain_scores(model, attribute(model, TOKENS), [(1, 0, 0, 0)])
    assert found.contrast.isnan().all()
    _sums_hold(found, 1.0)


def test_a_part_of_the_pairs_at_a_time_finds_the_same(monkeypatch):
    model = random_model(replace(RECIPES[0], layers=3))
    graph = attribute(model, TOKENS)
    whole = explain_scores(model, graph, [(2, 1, 5, 3)])
    monkeypatch.setattr("pipeline.attribution.qk.PAIRS_AT_ONCE", 1)
    monkeypatch.setattr("pipeline.attribution.qk.SEEDS", 4)
    again = explain_scores(model, graph, [(2, 1, 5, 3)])
    assert torch.equal(again.query_component, whole.query_component)
    assert torch.equal(again.score, whole.score)


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", [RECIPES[3], RECIPES[14], *GEMMA_4[:2]], ids=recipe_name)
def test_scores_are_the_same_on_a_gpu(recipe):
    # Pretended devices have no autograd.
    model = random_model(recipe)
    graph = attribute(model, TOKENS)
    looks = [(model.n_layers - 1, 1, 5, 4), (0, 0, 3, 2)]
    expected = explain_scores(model, graph, looks)
    there = on_devices(model, [torch.device("cuda")])
    found = explain_scores(there, attribute(there, TOKENS), looks)
    torch.testing.assert_close(found.score, expected.score, rtol=1e-6, atol=1e-6)
    assert torch.equal(found.key_component, expected.key_component)
