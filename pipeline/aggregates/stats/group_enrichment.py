"""Ties of features and edges to a group beyond chance, from counts alone.

The null hypothesis: labels were dealt out over the prompts at random. If an item (a feature, an edge) is on K
of N prompts and a group has n, the number k of the group's prompts with it is, over all N! permutations,
hypergeometric: the p-value of the permutation test with every permutation drawn (Fisher's exact test) needs
only sums that merge, and tells p = 1e-3 from 1e-30, which a thousand drawn permutations could not. Two-sided:
twice the smaller tail. Counts are discrete, so p-values are too large rather than too small, and
Benjamini-Hochberg over all tests holds its rate, for independent or positively dependent tests. Items on
fewer than `min_support` prompts are not tested; K does not know the labels, so this leaves the null as it is
(Bourgon, Gentleman, Huber, PNAS 2010).

What it cannot know: prompts made from one template are no independent draws; a tie may be to the template.
Sources: Fisher 1935; Benjamini and Hochberg, JRSS B 57, 1995.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int
from scipy.stats import hypergeom

ABSENT = -(2**15)
"""Stand-in for null while items are joined; below all indices, and in the range of every column's type."""


def enrichment(stats: pa.Table, count: str, sizes: dict[str, int], min_support: int) -> pa.Table:
    """Test each item of a statistics table against each group; q-values are still to come.

    Args:
        stats: rows of `feature_stats` or `edge_stats`, all labels of an item among them; the columns between
            `prompt_group` and `count` name an item.
        count: column with the prompts of the group that have the item.
        sizes: prompts of each group.
        min_support: prompts that an item must be on, over all groups.

    """
    keys = stats.column_names[1 : stats.column_names.index(count)]
    stats = pa.table({name: _plain(stats[name]) for name in ("prompt_group", *keys, count)})
    counts_IG, items = _counts(stats, keys, count, list(sizes), min_support)
    prompts_G = np.array(list(sizes.values()))
    total = int(prompts_G.sum())
    with_I = counts_IG.sum(axis=1)
    outside_IG, others_G = with_I[:, None] - counts_IG, total - prompts_G
    p_values = permutation_p(counts_IG, with_I[:, None], prompts_G[None, :], total)
    columns = {
        "prompts_with": counts_IG,
        "prompts": np.broadcast_to(prompts_G, counts_IG.shape),
        "rate": counts_IG / prompts_G,
        "rate_outside": outside_IG / np.maximum(others_G, 1),
        "log2_odds": log2_odds(counts_IG, prompts_G, outside_IG, others_G),
        "p_value": p_values,
    }
    return _long(items, list(sizes), columns)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # A join cannot bring together the dictionaries that the chunks of a long column have each.
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _counts(
    stats: pa.Table, keys: list[str], count: str, groups: list[str], least: int
) -> tuple[Int[np.ndarray, "items groups"], pa.Table]:
    """Return counts by item and group, and the items, of those that are on enough prompts."""
    # A join matches no nulls, which stand in the columns that do not apply to a node.
    nulls = {name: ABSENT for name in keys if stats[name].null_count}
    stats = _replaced(stats, nulls, lambda column, value: pc.fill_null(column, value))
    totals = stats.group_by(keys).aggregate([(count, "sum")])
    items = totals.filter(pc.field(f"{count}_sum") >= least).select(keys)
    numbered = items.append_column("item", pa.array(np.arange(items.num_rows)))
    joined = stats.join(numbered, keys, join_type="inner")
    wide = np.zeros((items.num_rows, len(groups)), np.int64)
    group = pc.index_in(joined["prompt_group"], pa.array(groups, pa.string())).to_numpy()
    wide[joined["item"].to_numpy(), group] = joined[count].to_numpy()
    return wide, _replaced(
        items, nulls, lambda column, value: pc.if_else(pc.equal(column, value), None, column)
    )


def _replaced(
    rows: pa.Table, values: Mapping[str, int], replace: Callable[[pa.ChunkedArray, int], pa.ChunkedArray]
) -> pa.Table:
    for name, value in values.items():
        rows = rows.set_column(rows.column_names.index(name), name, replace(rows[name], value))
    return rows


def _long(items: pa.Table, groups: list[str], columns: dict[str, np.ndarray]) -> pa.Table:
    """Return one row for each item and group."""
    repeated = items.take(pa.array(np.repeat(np.arange(items.num_rows), len(groups))))
    labels = pa.array(groups, pa.string()).take(pa.array(np.tile(np.arange(len(groups)), items.num_rows)))
    rows = repeated.add_column(0, "prompt_group", labels)
    for name, values in columns.items():
        rows = rows.append_column(name, pa.array(values.ravel()))
    return rows


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
