"""Sets that stand in for chosen features: as large, consistent over prompts, and never the chosen ones."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.validation.faithfulness import ExplainedTarget
from pipeline.validation.hypotheses.changes import Alive, Changes, PromptChanges, draw_matched, priorities
from pipeline.validation.hypotheses.question import Asked, Features, Hypothesis, Named

TARGET = ExplainedTarget("token", 1.0, {5: 1.0})


def _active(seed: int, share: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Features of two layers and three positions, each active with a chance."""
    random = np.random.default_rng(seed)
    every = np.array([[layer, p, f] for layer in range(2) for p in range(1, 4) for f in range(30)])
    active = every[random.random(len(every)) < share]
    return active, np.exp(random.uniform(0, 2, len(active)))


def _changes(seed: int = 0, **given) -> PromptChanges:
    active, activations = _active(seed)
    prompt = Asked(seed, f"q{seed}", (0, 1, 2, 3), "all", "one", TARGET, active, activations)
    hypothesis = Hypothesis((prompt,), **({"features": Features((Named(0, 3), Named(1, 7, -1)))} | given))
    features = np.arange(30)
    alive = {layer: Alive(features, 1.0 + features, 1.0 + features) for layer in range(2)}
    return PromptChanges(hypothesis, prompt, lambda cells, a: np.abs(a) * (1 + cells[:, 2]), alive, {}, 0)


def test_sets_of_each_kind_write_as_much():
    changes = _changes()
    wanted = changes.sizes[changes.own].sum()
    for kind in ("matched", "active"):
        for draw in range(20):
            drawn, ratio = changes.drawn(kind, draw)
            rows = [changes.prompt.active.tolist().index(cell) for cell in drawn.features.tolist()]
            assert ratio == pytest.approx(changes.sizes[rows].sum() / wanted)
            assert 0.9 <= ratio <= 1.05
            if kind == "matched":
                assert not set(rows) & set(changes.own)
                cells = changes.prompt.active[changes.own, :2].tolist()
                assert all(cell in cells for cell in drawn.features[:, :2].tolist())
    largest, _ = changes.drawn("largest", 0)
    assert len(largest.features) == len(changes.own)


def test_a_feature_at_a_position_and_everywhere():
    changes = _changes()
    chosen = changes.prompt.active[changes.own].tolist()
    assert all((layer, f) in ((0, 3), (1, 7)) for layer, _, f in chosen)
    assert all(position == 3 for layer, position, _ in chosen if layer == 1)
    ablated = changes.chosen()
    assert ablated.is_factor.all()
    assert not ablated.amounts.any()
    assert changes.dose(2.0).amounts.tolist() == [2.0] * len(chosen)


def test_draws_name_the_same_features_on_every_prompt():
    """On two prompts that share most of their features a draw is mostly the same; two draws are not."""
    random = np.random.default_rng(0)
    active, sizes = _active(0, share=1.0)
    shared = random.random(len(active)) < 0.9
    own = np.array([5, 40])
    drawn = {}
    for draw in (0, 1):
        for name, kept in (
            ("whole", np.ones(len(active), bool)),
            ("part", shared | np.isin(np.arange(180), own)),
        ):
            here, index = active[kept], np.flatnonzero(kept)
            chosen = np.flatnonzero(np.isin(index, own))
            priority = priorities(draw, 0, here[:, 0], here[:, 2])
            found = draw_matched(here, sizes[kept], chosen, priority)
            drawn[draw, name] = set(map(tuple, here[found].tolist()))

    def overlap(a, b):
        return len(drawn[a] & drawn[b]) / len(drawn[a] | drawn[b])

    assert overlap((0, "whole"), (0, "part")) >= 0.5
    assert overlap((0, "whole"), (1, "whole")) <= 0.34


def test_what_is_put_in_has_stand_ins_of_equal_norm():
    put_in = Features((Named(0, 9, -1, 4.0), Named(1, 2, 2, 3.0)))
    changes = _changes(put_in=put_in)
    wanted = {(0, 3): 4.0 * 10, (1, 2): 3.0 * 3}
    chosen = changes.chosen()
    assert chosen.amounts[~chosen.is_factor].tolist() == [4.0, 3.0]
    for kind in ("matched", "active", "largest"):
        drawn, _ = changes.drawn(kind, 3)
        put = ~drawn.is_factor
        assert put.sum() == 2
        for (layer, position, feature), value in zip(drawn.features[put], drawn.amounts[put], strict=True):
            assert value * (1 + feature) == pytest.approx(wanted[layer, position])
            assert kind == "active" or (layer, feature) not in ((0, 9), (1, 2))
    random, _ = changes.drawn("random", 3)
    assert sorted(random.amounts[~random.is_factor]) == [3.0, 4.0]
    assert changes.dose(2.0).amounts[~changes.dose(2.0).is_factor].tolist() == [8.0, 6.0]


def test_a_value_is_set_where_named_and_where_active():
    changes = _changes(factor=None, value=5.0)
    chosen = changes.chosen()
    assert not chosen.is_factor.any()
    assert set(chosen.amounts) == {5.0}
    assert [1, 3, 7] in chosen.features.tolist()  # active there or not: it was named


def test_the_last_change_of_a_feature_counts():
    one = Changes(np.array([[0, 1, 2]]), np.array([0.0]), np.array([True]))
    two = Changes(np.array([[0, 1, 2], [1, 1, 1]]), np.array([3.0, 1.0]), np.array([False, False]))
    joined = Changes.of([one, two])
    assert joined.features.tolist() == [[0, 1, 2], [1, 1, 1]]
    assert joined.amounts.tolist() == [3.0, 1.0]
