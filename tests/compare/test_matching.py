"""A match finds what is the same, and does not take what a model does to any dictionary for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.builtin import FILES, MODEL, TRANSCODERS
from pipeline.compare.contexts import contexts_of, prompts_of
from pipeline.compare.controls import active_features, random_like
from pipeline.compare.matching import Match, Observations, _assign, match_features
from pipeline.model import ReplacementModel
from tests.support.random_models import Recipe, random_model
from tests.support.recipes import TOKENS


@dataclass(frozen=True)
class Demo:
    """What is active of the built-in dictionary, and of random ones, on some of the built-in prompts."""

    trained: pa.Table
    random: list[pa.Table]
    stratum: np.ndarray

    def match(self, b: pa.Table, stratum: np.ndarray | None = None, control: bool = True) -> Match:
        """Match the trained dictionary with another."""
        observed = Observations(self.trained, b, self.stratum if stratum is None else stratum)
        return match_features(observed, 0.5, (self.random[0], self.random[1]) if control else None)


@pytest.fixture(scope="module")
def demo() -> Demo:
    model = ReplacementModel.from_pretrained(MODEL, TRANSCODERS)
    texts = pq.read_table(FILES / "prompts.parquet")["prompt"].to_pylist()[::2]
    prompts = [model.ensure_tokenized(text).tolist() for text in texts]
    contexts = contexts_of(prompts)
    trained = active_features(model, prompts, contexts.numbers)
    l0 = np.bincount(trained["layer"].to_numpy()) / len(contexts.stratum)
    random = [
        active_features(
            replace(model, transcoders=random_like(model.transcoders, l0, seed)), prompts, contexts.numbers
        )
        for seed in range(3)
    ]
    return Demo(trained, random, contexts.stratum)


def test_a_permuted_and_rescaled_copy_is_matched(demo: Demo) -> None:
    generator = np.random.default_rng(1)
    order, scale = generator.permutation(1024), generator.uniform(0.1, 10, 1024)
    feature = demo.trained["feature"].to_numpy()
    copy = demo.trained.set_column(1, "feature", pa.array(order[feature]))
    copy = copy.set_column(3, "x", pa.array(copy["x"].to_numpy() * scale[feature]))
    match = demo.match(copy)
    assert match.matched_share >= 0.99
    assert match.assigned_share >= 0.99
    rows = match.rows.filter(match.rows["matched"])
    assert np.mean(rows["feature_b"].to_numpy() == order[rows["feature_a"].to_numpy()]) >= 0.99
    assert match.random_share <= 0.01


def test_a_random_dictionary_is_not_matched_though_a_plain_shuffle_says_so(demo: Demo) -> None:
    match = demo.match(demo.random[2])
    assert match.matched_share <= 0.01
    assert match.random_share <= 0.01
    # The competitors: all observations dealt out as if they were alike, and those of the same token alone.
    plain = demo.match(demo.random[2], stratum=np.zeros_like(demo.stratum), control=False)
    within = demo.match(demo.random[2], control=False)
    assert plain.matched_share > within.matched_share > match.matched_share
    assert plain.matched_share > 0.1


def test_the_bars_are_one_a_band_of_activation_frequency(demo: Demo) -> None:
    match = demo.match(demo.random[2], control=False)
    assert list(match.chance) == [5 << k for k in range(len(match.chance))]
    assert len(set(match.chance.values())) == len(match.chance)
    assert set(pc.unique(match.rows["chance"]).to_pylist()) <= set(match.chance.values())


def test_contexts_count_once_and_strata_are_tokens_at_similar_positions() -> None:
    contexts = contexts_of([[0, 5, 7], [0, 5, 8], [0, 6, 7], [0, 6, 9]])
    assert [numbers.tolist() for numbers in contexts.numbers] == [
        [0, 1, 2],
        [-1, -1, 3],
        [-1, 4, 5],
        [-1, -1, 6],
    ]
    # 7 stands twice at one position; 5, 6, 8, 9 and the opening have one context each and are pooled by band.
    assert contexts.stratum[2] == contexts.stratum[5] not in contexts.stratum[[0, 1, 3, 4, 6]]
    assert contexts.stratum[1] == contexts.stratum[4]
    assert contexts.stratum[3] in (contexts.stratum[6], contexts.stratum[1])
    assert prompts_of([[0, 5], [0, 5], [0, 6]]).numbers[1].tolist() == [1, 1]


def test_the_assignment_gives_each_feature_one_and_the_largest_sum() -> None:
    # A's 0 and 1 both like B's 0 best; giving it to 1 and 1 to 0 is better than to let 1 go without.
    pairs = {
        "a": np.array([0, 0, 1, 3]),
        "b": np.array([0, 1, 0, 4]),
        "r": np.array([0.9, 0.85, 0.88, 0.7]),
    }
    assert _assign(pairs) == {0: (1, 0.85), 1: (0, 0.88), 3: (4, 0.7)}


@pytest.mark.parametrize("value", [2.5, 0.1, 1e-4, 3e7 / 7])  # sums of some round to a variance below 0
def test_a_feature_that_never_changes_matches_nothing_and_spoils_nothing(value: float) -> None:
    random = np.random.default_rng(1)
    n, features, often = 256, 60, 40
    where = np.concatenate([random.choice(n, often, replace=False) for _ in range(features)])
    columns = {
        "layer": np.zeros(n + len(where), np.int64),
        "feature": np.concatenate((np.zeros(n, np.int64), np.repeat(np.arange(1, features + 1), often))),
        "observation": np.concatenate((np.arange(n), where)),
        "x": np.concatenate((np.full(n, value), random.random(len(where)))),
    }
    active = pa.table(columns)
    stratum = np.zeros(n, np.int64)
    match = match_features(Observations(active, active, stratum), 0.5)
    assert (match.matched, match.assigned, match.features) == (features, features, features)
    assert np.isfinite(match.rows["correlation"].to_numpy()).all()
    assert np.isfinite(list(match.chance.values())).all()
    without = active.slice(n)
    alone = match_features(Observations(without, without, stratum), 0.5)
    assert match.chance == pytest.approx(alone.chance)


@pytest.mark.parametrize("name", ["neurons:5", "neurons"])
@pytest.mark.parametrize("l0", [3, 24])  # 24 is all of them
def test_a_random_dictionary_in_place_of_neurons_is_as_sparse_as_asked(name: str, l0: int) -> None:
    model = random_model(Recipe("llama", activation=name))
    random = random_like(model.transcoders, [l0] * model.n_layers)
    frozen = replace(model, transcoders=random).freeze(torch.tensor(TOKENS))
    for layer in frozen.layers:
        assert len(layer.features) == l0 * (len(TOKENS) - model.zero_positions)
