from __future__ import annotations

import tracemalloc
from itertools import permutations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import false_discovery_control, norm

from pipeline.aggregates.stats.clusters import ALONE, Clusters, read_clusters
from pipeline.aggregates.stats.group_enrichment import (
    enrichment,
    numbered_items,
    permutation_p,
    with_tokens,
)
from pipeline.aggregates.stats.strata import Occurrences, pooled_log2_odds, stratified_p
from pipeline.errors import ConfigurationError

PROMPTS, GROUPS = 240, ("a", "b", "c", "d")


def by_cluster(present: np.ndarray, clusters: Clusters, cluster: np.ndarray) -> pa.Table:
    """The sums that an aggregate would hold, of items (columns) on prompts (rows)."""
    number, item = np.nonzero(np.stack([present[cluster == c].sum(axis=0) for c in range(cluster.max() + 1)]))
    prompts = [int(present[cluster == c, i].sum()) for c, i in zip(number, item, strict=True)]
    alone = clusters.size[number] == 1
    return pa.table(
        {
            "layer": np.zeros(len(item), np.int16),
            "feature": item,
            "cluster": np.where(alone, ALONE, number),
            "cluster_group": clusters.group[number],
            "stratum": clusters.stratum[number],
            "prompts": prompts,
        }
    )


def discoveries(
    present: np.ndarray,
    labels: np.ndarray,
    cluster: np.ndarray | None = None,
    stratum: np.ndarray | None = None,
    rate: float = 0.05,
) -> pa.Table:
    """What is found with these clusters; None for single prompts."""
    cluster = np.arange(len(labels)) if cluster is None else cluster
    stratum = np.zeros(len(labels), int) if stratum is None else stratum
    rows = pa.table({"prompt_group": labels, "stratum": stratum.astype(str), "cluster": cluster})
    clusters, cluster = read_clusters(rows)
    tests = enrichment(by_cluster(present, clusters, cluster), clusters, 5)
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


def test_labels_of_whole_clusters_tie_nothing_to_them_by_chance() -> None:
    """Features follow the template, and so do noise labels: single prompts are no units, clusters are."""
    random = np.random.default_rng(2)
    cluster = np.repeat(np.arange(40), 6)
    present = random.random((240, 100)) < np.where(random.random((40, 100)) < 0.3, 0.9, 0.05)[cluster]
    false = {"clusters": 0, "prompts": 0}
    for _ in range(20):
        labels = random.permutation(np.repeat(GROUPS, 10))[cluster]
        false["clusters"] += discoveries(present, labels, cluster).num_rows
        false["prompts"] += discoveries(present, labels).num_rows
    assert false["clusters"] <= 2
    assert false["prompts"] > 200
    labels = np.repeat(GROUPS, 10)[cluster]
    present[:, 7] = random.random(240) < np.where(labels == "b", 0.6, 0.1)  # planted
    assert ("b", 7) in {
        (row["prompt_group"], row["feature"]) for row in discoveries(present, labels, cluster).to_pylist()
    }


def test_a_cluster_has_what_is_on_more_of_its_prompts_than_of_all() -> None:
    labels = np.array(list("aaaabbbb"))
    present = np.array([[1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1, 1]]).T > 0
    rows = pa.table({"prompt_group": labels, "stratum": [""] * 8, "cluster": [0, 0, 1, 1, 2, 2, 2, 3]})
    clusters, cluster = read_clusters(rows)
    tests = enrichment(by_cluster(present, clusters, cluster), clusters, 1).to_pylist()
    found = {(row["feature"], row["prompt_group"]): (row["clusters_with"], row["clusters"]) for row in tests}
    assert found == {
        (0, "a"): (1, 2),
        (0, "b"): (0, 2),
        (1, "a"): (1, 2),
        (1, "b"): (1, 2),
        (2, "a"): (2, 2),
        (2, "b"): (2, 2),
    }


def test_a_cluster_in_several_groups_is_in_that_of_most_of_its_prompts() -> None:
    rows = pa.table({"prompt_group": list("abbab"), "stratum": [""] * 5, "cluster": [0, 0, 0, 1, 1]})
    clusters, _ = read_clusters(rows)
    assert (clusters.sizes, clusters.mixed) == ({"a": 1, "b": 1}, 2)


def test_shuffling_keeps_sizes_and_strata() -> None:
    rows = pa.table(
        {"prompt_group": list("aaabbbab"), "stratum": list("xxxxyyyy"), "cluster": [0, 0, 1, 2, 3, 4, 5, 6]}
    )
    clusters, _ = read_clusters(rows)
    shuffled = [clusters.shuffled(seed) for seed in range(20)]
    assert all((one.n_clusters == clusters.n_clusters).all() for one in shuffled)
    assert any((one.group != clusters.group).any() for one in shuffled)
    with pytest.raises(ConfigurationError, match="1 of 7 clusters"):
        read_clusters(rows.set_column(1, "stratum", pa.array(list("xyxxyyyy"))))


def test_chunks_may_have_dictionaries_of_their_own() -> None:
    """Long tables come in chunks, each with its own dictionary of kinds."""
    kind = pa.chunked_array(
        [pa.array(["token", "feature"]).dictionary_encode(), pa.array(["error"]).dictionary_encode()]
    )
    numbers = {name: [1, 1, 1] for name in ("feature", "cluster_group", "stratum")}
    sums = pa.table({"kind": kind, **numbers, "cluster": [ALONE] * 3, "prompts": [5, 6, 7]})
    items, item = numbered_items(sums)
    assert items["kind"].to_pylist() == ["token", "feature", "error"]
    assert item.tolist() == [0, 1, 2]


def test_strata_that_decide_labels_and_features_tie_nothing_to_them() -> None:
    random = np.random.default_rng(3)
    stratum = np.repeat(np.arange(8), 30)
    likely = random.random((8, 60))
    false = {"within": 0, "across": 0}
    for _ in range(10):
        present = random.random((240, 60)) < likely[stratum]
        labels = np.where(random.random(240) < np.linspace(0.2, 0.8, 8)[stratum], "a", "b")
        false["within"] += discoveries(present, labels, stratum=stratum).num_rows
        false["across"] += discoveries(present, labels).num_rows
    assert false["within"] <= 2
    assert false["across"] > 50
    present[:, 7] = random.random(240) < np.where(labels == "b", 0.6, 0.2)
    assert {row["feature"] for row in discoveries(present, labels, stratum=stratum).to_pylist()} == {7}


def test_the_stratified_p_value_is_that_of_all_permutations() -> None:
    random = np.random.default_rng(4)
    stratum = np.array([0, 0, 0, 1, 1, 1, 1])
    group, item = np.array([1, 0, 0, 1, 1, 0, 0]), np.array([1, 0, 1, 1, 1, 0, 1])
    drawn = [
        (np.concatenate([one, other]) * item).sum()
        for one in permutations(group[:3])
        for other in permutations(group[3:])
    ]
    seen = (group * item).sum()
    tail = min(np.mean(np.array(drawn) >= seen), np.mean(np.array(drawn) <= seen))
    counts = (np.bincount(stratum, group * item).astype(int), np.bincount(stratum, item).astype(int))
    sizes = (np.bincount(stratum, group).astype(int), np.bincount(stratum))
    np.testing.assert_allclose(stratified_p(*counts, *sizes), min(1, 2 * tail))
    # Of many balanced strata: the normal approximation of Cochran, Mantel and Haenszel, with its correction.
    k, K, n, N = random.integers(4, 7, 40), np.full(40, 10), np.full(40, 12), np.full(40, 24)
    variance = (n * K * (N - n) * (N - K) / (N**2 * (N - 1))).sum()
    z = (abs((k - n * K / N).sum()) - 0.5) / np.sqrt(variance)
    np.testing.assert_allclose(stratified_p(k, K, n, N), 2 * norm.sf(z), rtol=0.05)


def test_tests_within_strata_are_those_of_the_dense_counts() -> None:
    """Every stratum of every item is counted here from the prompts, where the item is on none of them too."""
    random = np.random.default_rng(11)
    stratum = np.repeat(np.arange(12), 10)
    cluster = np.repeat(np.arange(60), 2)
    cluster[::3] = 60 + np.arange(40)  # clusters of one prompt and of two
    labels = random.choice(["a", "b", "c"], 120)
    # Most items are on in a few strata only, and on all prompts of some.
    present = random.random((120, 30)) < random.choice([0, 0, 0.3, 1], (12, 30))[stratum]
    rows = pa.table({"prompt_group": labels, "stratum": stratum, "cluster": cluster})
    clusters, number = read_clusters(rows)
    tests = enrichment(by_cluster(present, clusters, number), clusters, 3)
    found = {(row["feature"], row["prompt_group"]): row for row in tests.to_pylist()}
    expected = 0
    n = np.zeros((12, 3), int)
    np.add.at(n, (clusters.stratum, clusters.group), 1)
    for item in range(30):
        k = np.zeros((12, 3), int)
        for c in range(len(clusters.group)):
            share = present[number == c, item].mean()
            of_all = present[stratum == clusters.stratum[c], item].mean()
            k[clusters.stratum[c], clusters.group[c]] += share == 1 or share > of_all
        for g, group in enumerate("abc") if k.sum() >= 3 else ():
            row, table = found[item, group], (k[:, g], k.sum(axis=1), n[:, g], n.sum(axis=1))
            expected += 1
            assert (row["clusters_with"], row["clusters"]) == (k[:, g].sum(), n[:, g].sum())
            assert row["rate_outside"] == (k.sum() - k[:, g].sum()) / (n.sum() - n[:, g].sum())
            assert row["p_value"] == stratified_p(*table)
            assert row["log2_odds"] == pooled_log2_odds(*table)
    assert expected == len(found) > 30


def test_many_strata_take_memory_by_what_occurs_in_them() -> None:
    """Items times strata times groups would be 128 MB here."""
    items, strata = 2000, 2000
    random = np.random.default_rng(12)
    clusters = Clusters(
        GROUPS, np.arange(4 * strata) % 4, np.arange(4 * strata) // 4, np.ones(4 * strata, int)
    )
    rows = pa.table(
        {
            "feature": np.arange(items),
            "cluster": np.full(items, ALONE),
            "cluster_group": random.integers(0, 4, items),
            "stratum": random.integers(0, strata, items),
            "prompts": np.ones(items, int),
        }
    )
    tracemalloc.start()
    assert enrichment(rows, clusters, 1).num_rows == 4 * items
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20


def test_within_tokens_a_detector_of_one_token_is_tied_to_nothing() -> None:
    """Feature 0 is on token 1 wherever that is; feature 1 is on it in group b, and on token 3 anywhere."""
    random = np.random.default_rng(5)
    labels = np.repeat(["a", "b"], 60)
    has_token = random.random(120) < np.where(labels == "b", 0.9, 0.3)
    tokens = [[9, 1 if has else 2, 3] for has in has_token]
    rows = pa.table(
        {
            "prompt_key": np.arange(120),
            "prompt_group": labels,
            "stratum": [""] * 120,
            "cluster": np.arange(120),
            "token_ids": tokens,
        }
    )
    clusters, cluster = read_clusters(rows)
    occurrences = Occurrences.of(rows, cluster, 1)
    assert set(occurrences.token.tolist()) == {1, 2, 3}
    of_group = has_token & (random.random(120) < np.where(labels == "b", 0.8, 0.1))
    parts = [(0, 1, has_token), (1, 1, of_group), (1, 3, random.random(120) < 0.1)]
    on = pa.concat_tables(
        pa.table(
            {
                "feature": [feature] * int(on.sum()),
                "token_id": [token] * int(on.sum()),
                "cluster": np.flatnonzero(on),
                "prompts": [1] * int(on.sum()),
            }
        )
        for feature, token, on in parts
    )
    tests = enrichment(on, clusters, 1, occurrences).to_pylist()
    p = {(row["feature"], row["prompt_group"]): row["p_value"] for row in tests}
    assert p[0, "b"] == 1.0
    assert p[1, "b"] < 1e-4
    counts = pa.table({"feature": [0, 1], "top_token_id": [1, 1], "token_share": [1.0, 0.8]})
    shares = with_tokens(enrichment(on, clusters, 1, occurrences), counts).to_pylist()
    assert {(row["feature"], row["token_share"]) for row in shares} == {(0, 1.0), (1, 0.8)}
