"""Average-linkage clustering, its stability, and its agreement with known classes.

Linkage: the two clusters of highest mean similarity merge, until that mean is below `least`. No number of
clusters is asked for, and an item that is similar to nothing stays alone. Stability of a cluster: clusters of
resampled data are searched for the one that overlaps most (Jaccard), mean over the resamples; above 0.75 is
stable, below 0.5 dissolved (Hennig, CSDA 52, 2007). Agreement: adjusted Rand index (Hubert and Arabie 1985),
0 for chance, and where there is but one
cluster or none, and 1 for the same partition; and purity, the share of members that belong to their cluster's
most frequent class.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform


def average_linkage(similarity: Float[np.ndarray, "N N"], least: float) -> Int[np.ndarray, " N"]:
    """Cluster items; return each one's cluster, numbered from 0 by size, largest first."""
    return cut(merges(similarity), least)[: len(similarity)]


def merges(similarity: Float[np.ndarray, "N N"]) -> Float[np.ndarray, "N-1 4"]:
    """Merge items until one cluster is left; return the merges as scipy's `linkage` does."""
    if len(similarity) < 2:
        return np.zeros((0, 4))
    # Rounding takes cosines of the same direction above 1, and scipy refuses a negative distance.
    return linkage(squareform(np.maximum(1 - similarity, 0), checks=False), "average")


def cut(merged: Float[np.ndarray, "N-1 4"], least: float) -> Int[np.ndarray, " N"]:
    """Return each item's cluster where merges stop at a least similarity, numbered by size."""
    if not len(merged):
        return np.zeros(1, np.int64)
    return by_size(fcluster(merged, 1 - least, criterion="distance"))


def by_size(cluster: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Number clusters anew, largest first; of equals, the one whose first member comes first."""
    _, first, index, count = np.unique(cluster, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -count))
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    return rank[index]


def contingency(a: Int[np.ndarray, " N"], b: Int[np.ndarray, " N"]) -> Int[np.ndarray, "A B"]:
    """Return how many items each cluster of one shares with each of the other."""
    counts = np.zeros((a.max(initial=-1) + 1, b.max(initial=-1) + 1), np.int64)
    np.add.at(counts, (a, b), 1)
    return counts


def overlap(clusters: Int[np.ndarray, " N"], resampled: Int[np.ndarray, " N"]) -> Float[np.ndarray, " A"]:
    """Return, for each cluster, the largest Jaccard index with a cluster of the resample."""
    shared = contingency(clusters, resampled)
    either = shared.sum(axis=1)[:, None] + shared.sum(axis=0)[None, :] - shared
    return (shared / np.maximum(either, 1)).max(axis=1)


def adjusted_rand(a: Int[np.ndarray, " N"], b: Int[np.ndarray, " N"]) -> float:
    """Return the adjusted Rand index of two partitions."""
    shared = contingency(a, b)
    pairs, rows, columns = (_pairs(x).sum() for x in (shared, shared.sum(axis=1), shared.sum(axis=0)))
    expected = rows * columns / max(_pairs(np.array(len(a))), 1)
    most = (rows + columns) / 2
    # One cluster of everything, or none of two items, agrees with any of its kind: nothing was found.
    return 0.0 if most == expected else float((pairs - expected) / (most - expected))


def _pairs(count: Int[np.ndarray, ...]) -> Float[np.ndarray, ...]:
    return count * (count - 1) / 2


def purity(clusters: Int[np.ndarray, " N"], classes: Int[np.ndarray, " N"]) -> Float[np.ndarray, " C"]:
    """Return, for each class, the mean share of its own class in its members' clusters."""
    shared = contingency(clusters, classes)
    share = shared / np.maximum(shared.sum(axis=1, keepdims=True), 1)
    return (shared * share).sum(axis=0) / np.maximum(shared.sum(axis=0), 1)


def majority(clusters: Int[np.ndarray, " N"], classes: Int[np.ndarray, " N"]) -> float:
    """Return the share of items that belong to their cluster's most frequent class."""
    return float(contingency(clusters, classes).max(axis=1, initial=0).sum() / max(len(clusters), 1))
