"""Tests within strata: prompts are compared only with those that share a value, or a token.

Of each stratum comes a table of two by two: the group's clusters and the others, with the item and without.
The statistic is the sum of the group's counts (Cochran-Mantel-Haenszel); under permutation of the labels
within each stratum it is a sum of independent hypergeometric numbers, whose distribution is theirs convolved.
So the p-value is exact, also where strata are small and the normal approximation is too generous.

Strata by token keep detectors of one token from passing for features of a group. A cluster is compared, for
each item, on the token among its own that the item is most often on, with the other clusters that have this
token: an item that is on wherever the token is differs from nobody, and ties to no group. A cluster stands in
one stratum, since one that stood in several would count several times.
Sources: Cochran, Biometrics 10, 1954; Mantel and Haenszel, JNCI 22, 1959.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from scipy.stats import hypergeom

from pipeline.aggregates.stats.clusters import Clusters
from pipeline.aggregates.stats.sums import summed

OCCURRENCES = """
    select token_id, cluster, count(distinct prompt_key) as prompts
    from (select prompt_key, cluster, unnest(token_ids[{first} + 1:]) as token_id from rows)
    group by all order by all
"""

Counts = tuple[Int[np.ndarray, "S G"], Int[np.ndarray, "S G"]]
"""Clusters with an item, and all clusters, by stratum and group."""


@dataclass(frozen=True)
class Occurrences:
    """The tokens of each cluster."""

    token: Int[np.ndarray, " rows"]
    """Token ids, ascending."""

    cluster: Int[np.ndarray, " rows"]

    prompts: Int[np.ndarray, " rows"]
    """Prompts of the cluster that hold the token."""

    @classmethod
    def of(cls, rows: pa.Table, cluster: Int[np.ndarray, " prompts"], first: int) -> Occurrences:
        """Read them off the rows of `Groups`, from position `first` on."""
        rows = rows.select(["prompt_key", "token_ids"]).append_column("cluster", pa.array(cluster))
        found = summed(rows, {"found": OCCURRENCES.format(first=first)})["found"]
        return cls(*(found[name].to_numpy() for name in ("token_id", "cluster", "prompts")))

    def counts(
        self,
        clusters: Clusters,
        token: Int[np.ndarray, " n"],
        cluster: Int[np.ndarray, " n"],
        on: Int[np.ndarray, " n"],
    ) -> Counts:
        """Return an item's counts from the prompts that it is on, by token and cluster."""
        tokens, back = np.unique(token, return_inverse=True)
        bounds = np.stack([np.searchsorted(self.token, tokens, side) for side in ("left", "right")], axis=1)
        total = np.array([self.prompts[slice(*bound)].sum() for bound in bounds])
        with_it = np.bincount(back, on)
        free, on_cluster = np.ones(len(clusters.group), bool), np.zeros(len(clusters.group), np.int64)
        n_groups, k_SG, n_SG = len(clusters.groups), [], []
        # Most often first; the order does not know the labels.
        for t in np.lexsort((tokens, -with_it, -with_it / total)):
            here = slice(*bounds[t])
            new = free[self.cluster[here]]
            members, prompts = self.cluster[here][new], self.prompts[here][new]
            free[members] = False
            mine = back == t
            on_cluster[cluster[mine]] = on[mine]
            has = has_item(on_cluster[members], prompts, with_it[t], total[t])
            on_cluster[cluster[mine]] = 0
            group = clusters.group[members]
            n_SG.append(np.bincount(group, minlength=n_groups))
            k_SG.append(np.bincount(group[has], minlength=n_groups))
        return np.stack(k_SG), np.stack(n_SG)


def has_item(
    on: Int[np.ndarray, ...],
    size: Int[np.ndarray, ...],
    all_on: Int[np.ndarray, ...],
    all_prompts: Int[np.ndarray, ...],
) -> np.ndarray:
    """Return which clusters have an item: it is on more of their prompts than of all, or on every one."""
    return (on * all_prompts > size * all_on) | (on == size)


def stratified_tests(
    counts: Iterable[Counts], n_groups: int, min_support: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Test items with these counts; return which `min_support` clusters have, and the columns of their tests.

    Columns are items x groups, of those that were tested.
    """
    tested: list[bool] = []
    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in ("clusters_with", "clusters", "rate", "rate_outside", "log2_odds", "p_value")
    }
    for k_SG, n_SG in counts:
        tested.append(bool(k_SG.sum() >= min_support))
        if not tested[-1]:
            continue
        k_G, n_G, K_S, N_S = k_SG.sum(axis=0), n_SG.sum(axis=0), k_SG.sum(axis=1), n_SG.sum(axis=1)
        columns["clusters_with"].append(k_G)
        columns["clusters"].append(n_G)
        columns["rate"].append(k_G / np.maximum(n_G, 1))
        columns["rate_outside"].append((k_G.sum() - k_G) / np.maximum(n_G.sum() - n_G, 1))
        tables = [(k_SG[:, g], K_S, n_SG[:, g], N_S) for g in range(n_groups)]
        columns["log2_odds"].append(np.array([pooled_log2_odds(*table) for table in tables]))
        columns["p_value"].append(np.array([stratified_p(*table) for table in tables]))
    stacked = {name: np.stack(rows) if rows else np.empty((0, n_groups)) for name, rows in columns.items()}
    return np.array(tested, bool), stacked


# k of K clusters with the item are among the n of N that are the group's, by stratum
def stratified_p(
    k: Int[np.ndarray, " S"], K: Int[np.ndarray, " S"], n: Int[np.ndarray, " S"], N: Int[np.ndarray, " S"]
) -> float:
    """Return the two-sided p-value of the sum of k under permutation of the labels within strata."""
    telling = _telling(K, n, N)
    chances, lowest = np.ones(1), 0
    for one in zip(N[telling].tolist(), K[telling].tolist(), n[telling].tolist(), strict=True):
        first, stratum = _chances(*one)
        chances, lowest = np.convolve(chances, stratum), lowest + first
    found = int(k[telling].sum()) - lowest
    return float(min(1.0, 2 * min(chances[found:].sum(), chances[: found + 1].sum())))


def _telling(K: np.ndarray, n: np.ndarray, N: np.ndarray) -> np.ndarray:
    """Return which strata can show a difference: with both kinds of clusters, and both outcomes."""
    return (K > 0) & (K < N) & (n > 0) & (n < N)


@lru_cache(1 << 16)
def _chances(N: int, K: int, n: int) -> tuple[int, Float[np.ndarray, " counts"]]:
    """Return the lowest possible count and the chances from it on."""
    first = max(0, n + K - N)
    return first, hypergeom.pmf(np.arange(first, min(n, K) + 1), N, K, n)


def pooled_log2_odds(
    k: Int[np.ndarray, " S"], K: Int[np.ndarray, " S"], n: Int[np.ndarray, " S"], N: Int[np.ndarray, " S"]
) -> float:
    """Return log2 of the odds ratio of Mantel and Haenszel, 0.5 added to each count; 0 where none tells."""
    k, K, n, N = (values[_telling(K, n, N)] for values in (k, K, n, N))
    if not len(k):
        return 0.0
    both = (k + 0.5) * (N - n - K + k + 0.5) / (N + 2)
    cross = (n - k + 0.5) * (K - k + 0.5) / (N + 2)
    return float(np.log2(both.sum() / cross.sum()))
