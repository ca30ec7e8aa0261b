"""Ties of features and edges to a group beyond chance, from counts alone.

The null hypothesis: labels were dealt out over the clusters of prompts at random. A cluster has an item (a
feature, an edge) if the item is on a larger share of its prompts than of all prompts, or on all of them; that
does not know the labels. If K of N clusters have the item and a group has n, the number k of the group's
clusters with it is, over all N! permutations, hypergeometric: the p-value of the permutation test with every
permutation drawn (Fisher's exact test) needs only sums that merge, and tells p = 1e-3 from 1e-30, which a
thousand drawn permutations could not. Two-sided: twice the smaller tail. Counts are discrete, so p-values are
too large rather than too small, and Benjamini-Hochberg over all tests holds its rate, for independent or
positively dependent tests. Items that fewer than `min_support` clusters have are not tested; K does not
know the labels, so this leaves the null as it is (Bourgon, Gentleman, Huber, PNAS 2010).

What a test cannot know: clusters coarser than those it was given, and
labels that follow the size of clusters.
Sources: Fisher 1935; Benjamini and Hochberg, JRSS B 57, 1995.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int
from scipy.stats import hypergeom

from pipeline.aggregates.stats.clusters import ALONE, Clusters
from pipeline.aggregates.stats.strata import Counts, Occurrences, has_item, stratified_tests

COUNTED = ("cluster", "cluster_group", "stratum", "prompts")

TOKEN = ("top_token_id", "token_share")

LABELS = (*COUNTED, "token_id")
"""Columns of the sums by cluster that name no item."""


def enrichment(
    by_cluster: pa.Table, clusters: Clusters, min_support: int, occurrences: Occurrences | None = None
) -> pa.Table:
    """Test each item against each group; q-values are still to come.

    Args:
        by_cluster: prompts that have an item, by cluster: the columns that name an item, then of `LABELS`.
            Prompts that are clusters of their own are counted together, as cluster `ALONE`. With occurrences:
            by cluster and `token_id`.
        clusters: all clusters.
        min_support: clusters that must have an item, over all groups.
        occurrences: tokens to take as strata; None for the strata of the clusters.

    """
    items, item = numbered_items(by_cluster)
    if occurrences is None and clusters.n_strata == 1:
        k_IG, *_ = _counts(by_cluster, item, clusters)
        tested = k_IG.sum(axis=1) >= min_support
        columns = _tests(k_IG[tested], clusters.n_clusters[0])
    else:
        counts = (
            _counts_by_stratum(by_cluster, item, clusters)
            if occurrences is None
            else _counts_by_token(by_cluster, item, clusters, occurrences)
        )
        tested, columns = stratified_tests(counts, len(clusters.groups), min_support)
    return _long(items.filter(pa.array(tested)), list(clusters.groups), columns)


def _tests(
    counts_IG: Int[np.ndarray, "items groups"], clusters_G: Int[np.ndarray, " groups"]
) -> dict[str, np.ndarray]:
    """Return the columns of tests without strata."""
    with_I, total = counts_IG.sum(axis=1), int(clusters_G.sum())
    outside_IG, others_G = with_I[:, None] - counts_IG, total - clusters_G
    return {
        "clusters_with": counts_IG,
        "clusters": np.broadcast_to(clusters_G, counts_IG.shape),
        "rate": counts_IG / np.maximum(clusters_G, 1),
        "rate_outside": outside_IG / np.maximum(others_G, 1),
        "log2_odds": log2_odds(counts_IG, clusters_G, outside_IG, others_G),
        "p_value": permutation_p(counts_IG, with_I[:, None], clusters_G[None, :], total),
    }


def numbered_items(rows: pa.Table) -> tuple[pa.Table, Int[np.ndarray, " rows"]]:
    """Return the items that rows are of, and the number of each row's."""
    names = [name for name in rows.column_names if name not in LABELS]
    items = _plain_all(rows.select(names))
    numbered = items.append_column("row", pa.array(np.arange(rows.num_rows)))
    found = numbered.group_by(names).aggregate([("row", "min"), ("row", "list")]).sort_by("row_min")
    lengths = pc.list_value_length(found["row_list"]).to_numpy()
    item = np.empty(rows.num_rows, np.int64)
    item[pc.list_flatten(found["row_list"]).to_numpy()] = np.repeat(np.arange(found.num_rows), lengths)
    return found.select(names), item


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # The chunks of a long column have dictionaries of their own each.
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _counts(
    by_cluster: pa.Table, item: Int[np.ndarray, " rows"], clusters: Clusters
) -> tuple[Int[np.ndarray, "P groups"], Int[np.ndarray, " P"], Int[np.ndarray, " P"]]:
    """Return the clusters of each group that have an item, by pair of item and stratum; and these, ascending.

    Only pairs that occur: items times strata may be more than fits in memory.
    """
    cluster, group, stratum, prompts = (by_cluster[name].to_numpy() for name in COUNTED)
    pairs, pair = np.unique(item * clusters.n_strata + stratum, return_inverse=True)
    k_PG, on_P = np.zeros((len(pairs), len(clusters.groups)), np.int64), np.zeros(len(pairs), np.int64)
    np.add.at(on_P, pair, prompts)
    size = np.where(cluster == ALONE, 1, clusters.size[cluster])
    has = has_item(prompts, size, on_P[pair], clusters.n_prompts[stratum])
    np.add.at(k_PG, (pair, group), np.where(cluster == ALONE, prompts, has))
    return k_PG, *np.divmod(pairs, clusters.n_strata)


def _counts_by_stratum(
    by_cluster: pa.Table, item: Int[np.ndarray, " rows"], clusters: Clusters
) -> Iterator[Counts]:
    k_PG, item_P, stratum_P = _counts(by_cluster, item, clusters)
    n_SG = clusters.n_clusters
    n_G = n_SG.sum(axis=0)
    bounds = np.searchsorted(item_P, np.arange(item.max(initial=-1) + 2))
    for here in map(slice, bounds, bounds[1:]):
        of_item = n_SG[stratum_P[here]]
        # Strata without the item tell nothing, but their clusters count: they stand together as the last one.
        yield (
            np.vstack([k_PG[here], np.zeros_like(n_G)]),
            np.vstack([of_item, n_G - of_item.sum(axis=0)]),
        )


def _counts_by_token(
    by_cluster: pa.Table, item: Int[np.ndarray, " rows"], clusters: Clusters, occurrences: Occurrences
) -> Iterator[Counts]:
    if not len(item):
        return
    order = np.argsort(item, kind="stable")
    token, cluster, on = (by_cluster[name].to_numpy()[order] for name in ("token_id", "cluster", "prompts"))
    bounds = np.flatnonzero(np.diff(item[order])) + 1
    for parts in zip(*(np.split(values, bounds) for values in (token, cluster, on)), strict=True):
        yield occurrences.counts(clusters, *parts)


def _long(items: pa.Table, groups: list[str], columns: dict[str, np.ndarray]) -> pa.Table:
    """Return one row for each item and group."""
    repeated = items.take(pa.array(np.repeat(np.arange(items.num_rows), len(groups))))
    labels = pa.array(groups, pa.string()).take(pa.array(np.tile(np.arange(len(groups)), items.num_rows)))
    rows = repeated.add_column(0, "prompt_group", labels)
    for name, values in columns.items():
        rows = rows.append_column(name, pa.array(values.ravel()))
    return rows


def with_tokens(tests: pa.Table, tokens: pa.Table) -> pa.Table:
    """Add to each test the token that its item is most often on, and the share of its activations there."""
    names = [name for name in tokens.column_names if name not in TOKEN]
    both = [_plain_all(rows.select(names)) for rows in (tests, tokens)]
    _, number = numbered_items(pa.concat_tables(both, promote_options="permissive"))
    of_item = np.empty(number.max(initial=-1) + 1, np.int64)
    of_item[number[tests.num_rows :]] = np.arange(tokens.num_rows)
    found = tokens.select(TOKEN).take(pa.array(of_item[number[: tests.num_rows]]))
    for name in TOKEN:
        tests = tests.append_column(name, found[name])
    return tests


def _plain_all(rows: pa.Table) -> pa.Table:
    return pa.table({name: _plain(rows[name]) for name in rows.column_names})


def permutation_p(
    k: Int[np.ndarray, ...], K: Int[np.ndarray, ...], n: Int[np.ndarray, ...], N: int
) -> Float[np.ndarray, ...]:
    """Return the two-sided p-value of k of K under permutation of n labels over N prompts."""
    shape = np.broadcast_shapes(k.shape, K.shape, n.shape)
    # Few cases differ: counts are small whole numbers, and each costs some 30 microseconds.
    cases = np.stack([np.broadcast_to(part, shape).ravel() for part in (k, K, n)], axis=1)
    different, back = np.unique(cases, axis=0, return_inverse=True)
    k, K, n = different.T.astype(np.int64)
    # The tail that lies away from the mean; the other one holds at least half of the probability.
    upper = k * N >= n * K
    tail = np.where(upper, hypergeom.sf(k - 1, N, K, n), hypergeom.cdf(k, N, K, n))
    return np.minimum(1.0, 2 * tail)[back.ravel()].reshape(shape)


def log2_odds(
    k: Int[np.ndarray, ...],
    n: Int[np.ndarray, ...],
    k_other: Int[np.ndarray, ...],
    n_other: Int[np.ndarray, ...],
) -> Float[np.ndarray, ...]:
    """Return log2 of the odds ratio, finite for counts of zero (Haldane and Anscombe: 0.5 more of each)."""
    return np.log2((k + 0.5) * (n_other - k_other + 0.5) / ((n - k + 0.5) * (k_other + 0.5)))
