from __future__ import annotations

from itertools import permutations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import false_discovery_control

from pipeline.aggregates.stats.group_enrichment import enrichment, permutation_p

PROMPTS, GROUPS = 240, ("a", "b", "c", "d")


def stats_of(present: np.ndarray, labels: np.ndarray) -> pa.Table:
    """The counts that an aggregate would hold, of items (columns) on prompts (rows)."""
    rows = [
        {"prompt_group": group, "layer": 0, "feature": item, "prompts_active": int(count)}
        for group in GROUPS
        for item, count in enumerate(present[labels == group].sum(axis=0))
        if count
    ]
    return pa.Table.from_pylist(rows)


def discoveries(present: np.ndarray, labels: np.ndarray, rate: float = 0.05) -> pa.Table:
    sizes = {group: int((labels == group).sum()) for group in GROUPS}
    tests = enrichment(stats_of(present, labels), "prompts_active", sizes, 5)
    return tests.filter(pa.array(false_discovery_control(tests["p_value"].to_numpy()) <= rate))


@pytest.mark.parametrize(
    ("labels", "has"), [("aaabbbb", "1110010"), ("aabbbbb", "0011110"), ("abbb", "1000")]
)
def test_p_values_are_those_of_all_permutations(labels: str, has: str) -> None:
    group, item = (np.array([c in "a1" for c in text]) for text in (labels, has))
    drawn = [(np.array(order) & item).sum() for order in permutations(group.tolist())]
    seen = (group & item).sum()
    tail = min(np.mean(np.array(drawn) >= seen), np.mean(np.array(drawn) <= seen))
    arguments = (np.array([x]) for x in (seen, item.sum(), group.sum()))
    np.testing.assert_allclose(permutation_p(*arguments, len(group)), min(1, 2 * tail))


def test_p_values_far_below_what_permutations_could_draw() -> None:
    p = permutation_p(np.array([50, 25]), np.array([50, 50]), np.array([500, 500]), 1000)
    np.testing.assert_allclose(p, [2 * 2.2e-16, 1.0], rtol=0.2)


def test_a_planted_tie_is_found_with_its_direction() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(GROUPS, PROMPTS // len(GROUPS))
    present = random.random((PROMPTS, 300)) < 0.2
    present[:, 7] = random.random(PROMPTS) < np.where(labels == "b", 0.7, 0.1)
    present[:, 8] = random.random(PROMPTS) < np.where(labels == "c", 0.05, 0.6)
    found = discoveries(present, labels).to_pylist()
    signs = {(row["prompt_group"], row["feature"]): np.sign(row["log2_odds"]) for row in found}
    assert signs["b", 7] == 1
    assert signs["c", 8] == -1
    assert {feature for _, feature in signs} == {7, 8}


def test_shuffled_labels_give_no_more_than_the_rate() -> None:
    """With nothing to find, any discovery is a false one: at most 5% of the shuffles may have one."""
    random = np.random.default_rng(1)
    labels = np.repeat(GROUPS, PROMPTS // len(GROUPS))
    rates = random.beta(0.5, 2, 200)
    topic = random.random((PROMPTS, 1))  # items come and go together, as features do
    present = random.random((PROMPTS, 200)) < np.where(topic < 0.5, rates, rates**2)
    shuffles = 200
    false = sum(discoveries(present, random.permutation(labels)).num_rows > 0 for _ in range(shuffles))
    assert false / shuffles <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / shuffles)


def test_chunks_may_have_dictionaries_of_their_own() -> None:
    """Long tables come in chunks, each with its own dictionary of kinds."""
    kind = pa.chunked_array(
        [pa.array(["token", "feature"]).dictionary_encode(), pa.array(["error"]).dictionary_encode()]
    )
    stats = pa.table(
        {"prompt_group": ["a", "a", "b"], "kind": kind, "feature": [1, 1, 1], "support": [5, 6, 7]}
    )
    tests = enrichment(stats, "support", {"a": 10, "b": 10}, 5)
    assert sorted(set(tests["kind"].to_pylist())) == ["error", "feature", "token"]
    assert tests.num_rows == 6
