"""Predictions, shares and ranks on circuits small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.faithfulness.circuit_tests import Baselines, SetResult, SetTest, plan_tests
from pipeline.validation.faithfulness.compared_sets import ComparedSets
from pipeline.validation.faithfulness.effects import Effects
from pipeline.validation.faithfulness.explained_target import ExplainedTarget
from pipeline.validation.faithfulness.feature_effects import predicted_changes
from pipeline.validation.faithfulness.sampling import EqualSet, MatchedSet


@pytest.fixture
def chain() -> Circuit:
    """A source at layer 0, two features at layer 1, one at layer 2 that hears all of them."""
    features = np.array([[0, 1, 0], [1, 1, 4], [1, 2, 5], [2, 2, 6]])
    edges = np.zeros((4, 4))
    edges[1, 0], edges[2, 0], edges[3, 0], edges[3, 1], edges[3, 2] = 0.5, -0.2, 0.1, 3.0, 1.0
    others = np.array([[0, 1, 7], [0, 1, 8], [1, 1, 7], [1, 2, 7], [2, 2, 7]])
    active = np.concatenate((features, others))
    order = np.lexsort(active.T[::-1])
    activations = np.array([2.0, 1.0, 4.0, 5.0, 1.9, 0.1, 1.1, 3.0, 4.0])
    return Circuit(
        token_ids=(1, 2, 3),
        targets=(ExplainedTarget("token", 1.0, {5: 1.0}),),
        features=features,
        activations=activations[:4],
        influence=np.array([0.1, 0.4, 0.2, 0.5]),
        active=active[order],
        active_activations=activations[order],
        edges=edges,
        direct=np.zeros(4),
    )


def test_a_removal_is_carried_over_every_path_above_the_range(chain):
    change = predicted_changes(chain, np.array([0]), first_live=1)[:, 0]
    # -0.5 of activation 1.0 is half of feature 1, +0.2 of 4.0 is a twentieth of feature 2.
    assert change == pytest.approx([0, -0.5, 0.2, -0.1 - 0.5 * 3.0 + 0.05 * 1.0])


def test_what_is_frozen_passes_nothing_on(chain):
    assert predicted_changes(chain, np.array([0]), first_live=2)[:, 0] == pytest.approx([0, 0, 0, -0.1])


def test_sets_keep_to_their_side_of_the_circuit(chain):
    losses = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8.0])
    necessity, top, sufficiency, without = plan_tests(
        chain, chain.active_activations, losses, 20, 1, np.random.default_rng(0)
    )
    kept = set(np.flatnonzero(chain.kept))
    assert {tuple(place) for place in chain.active[chain.kept].tolist()} == set(
        map(tuple, chain.features.tolist())
    )
    assert set(necessity.ablated[0]) == kept
    assert set(sufficiency.ablated[0]) == set(range(9)) - kept
    assert chain.active[top.ablated[0]].tolist() == [[2, 2, 6]]  # the most influential
    sets, sizes = necessity.sets, chain.active_activations
    assert set(sizes[sets.largest]) == {5.0, 4.0, 3.0}  # write most
    for drawn in sets.matched:
        assert not set(drawn.indices) & kept
    assert any(set(drawn.indices) & kept for drawn in sets.active)
    assert all(0.8 <= drawn.size_ratio <= 1.05 for drawn in sets.active)
    assert not set(sets.worst.indices) & kept
    for ablated, left in zip(necessity.ablated, sufficiency.ablated, strict=True):
        assert set(left) == set(range(9)) - set(ablated)
    assert without.without_errors
    assert not sufficiency.without_errors


def test_the_worst_case_is_what_costs_most_at_equal_size(chain):
    """Planted: one feature outside the circuit carries everything. Random sets mostly miss it."""
    random = np.random.default_rng(0)
    sizes, losses = np.ones(9), np.zeros(9)
    outside = np.flatnonzero(~chain.kept)
    losses[outside[3]] = 5.0
    (necessity, *_) = plan_tests(chain, sizes, losses, 50, 1, random)
    assert outside[3] in necessity.sets.worst.indices
    assert len(necessity.sets.worst.indices) == len(chain.features)
    (again, *_) = plan_tests(chain, sizes, -losses, 50, 1, random)
    assert outside[3] not in again.sets.worst.indices


def _result(test: str, values: list[float], baselines: Baselines) -> SetResult:
    """The values of a circuit and of its matched sets; the largest have 0, the worst 7."""
    nobody = np.zeros(0, dtype=int)
    matched = (MatchedSet(nobody, 1.0, 1.0),) * (len(values) - 1)
    sets = ComparedSets(nobody, matched, (), nobody, EqualSet(nobody, 1.0))
    values = [*values, 0.0, 7.0]
    nothing = np.zeros(len(values))
    return SetResult(SetTest(test, sets, 0), baselines, Effects(nothing, nothing, nothing, np.array(values)))


def test_shares_and_ranks():
    baselines = Baselines(clean=-1.0, ablated=-5.0)
    lost = _result("necessity", [-4.0, -1.0, -2.0, -4.5], baselines)
    assert lost.share() == pytest.approx(0.75)
    assert lost.share("matched") == pytest.approx(0.25)
    assert lost.rank == 2
    assert (lost.values("largest"), lost.values("worst")) == (0.0, 7.0)
    kept = _result("sufficiency", [-2.0, -4.0, -5.0, -3.0], baselines)
    assert kept.share() == pytest.approx(0.75)
    assert kept.share("matched") == pytest.approx(0.25)
    assert kept.rank == 1


def test_a_tie_counts_against_the_circuit():
    assert _result("necessity", [-2.0, -2.0, -1.0], Baselines(-1.0, -5.0)).rank == 2


def test_nothing_at_stake_is_no_share():
    saturated = Baselines(-2.0, -2.05)
    assert not saturated.is_at_stake
    assert saturated.kept(-2.02) is None
    assert _result("necessity", [-2.0, -2.0], saturated).share() is None
    assert not Baselines(0.0, 0.0, least=0.0).is_at_stake  # a feature whose pre-activation is 0


def test_what_the_features_hold_down_is_lost_upwards():
    """A difference that the graph explains may be negative: losing it raises the value."""
    baselines = Baselines(clean=-3.0, ablated=1.0)
    lost = _result("necessity", [0.0, -3.0, -2.0], baselines)
    assert lost.share() == pytest.approx(0.75)
    assert lost.rank == 1
