"""Supernodes of a circuit: features of one role that the same drives, and that drive the same the same way.

A node's profile is the signed shares of its edges into others, and those of others into it. Two nodes are as
similar as the less similar of the two halves (1 where neither has any), and merge by average linkage while
that is at least 0.8. Then supernodes are compared in the same way: where two sources merged, those that only
differed by which of the two drives them merge next, until nothing changes.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from pipeline.aggregates.supernodes import average_linkage
from pipeline.circuits.finding.sums import TARGET

LEAST_SIMILARITY = 0.8


def supernodes(key: Int[np.ndarray, "k 6"], flow: Float[np.ndarray, " k"]) -> dict[tuple[int, int, int], int]:
    """Return the supernode of each node, numbered from the bottom.

    Args:
        key: the circuit's edges.
        flow: share of influence over each, with the edge's sign.

    """
    nodes = sorted({tuple(end) for row in key.tolist() for end in (row[:3], row[3:]) if end[1] != TARGET})
    index = {node: number for number, node in enumerate(nodes)}
    ends = [[index.get(tuple(end), -1) for end in (row[:3], row[3:])] for row in key.tolist()]
    source, target = np.array(ends, dtype=int).reshape(-1, 2).T
    roles = np.array([role for _, _, role in nodes])
    member = np.arange(len(nodes))
    while True:
        one, other = (np.where(end >= 0, member[end], -1) for end in (source, target))
        of_role = np.zeros(member.max(initial=-1) + 1, int)
        of_role[member] = roles
        similarity = np.minimum(
            _similarity(one, other, flow, of_role), _similarity(other, one, flow, of_role)
        )
        merged = average_linkage(similarity, LEAST_SIMILARITY)[member]
        if merged.max(initial=0) == member.max(initial=0):
            break
        member = merged
    first = {number: min(np.flatnonzero(member == number)) for number in np.unique(member)}
    order = {number: place for place, number in enumerate(sorted(first, key=first.get))}
    return {node: order[member[index[node]]] for node in nodes}


def _similarity(
    one: Int[np.ndarray, " k"], other: Int[np.ndarray, " k"], flow: Float[np.ndarray, " k"], role: np.ndarray
) -> Float[np.ndarray, "n n"]:
    """Return the cosines of what supernodes of one role have at the other ends of their edges."""
    n = len(role)
    profile = np.zeros((n, n + 1))  # the last column is the target's
    here = one >= 0
    np.add.at(profile, (one[here], other[here]), flow[here])
    norm = np.linalg.norm(profile, axis=1)
    unit = profile / np.maximum(norm, 1e-30)[:, None]
    similarity = unit @ unit.T
    nothing = norm == 0
    similarity[np.ix_(nothing, nothing)] = 1.0
    np.fill_diagonal(similarity, 1.0)
    similarity[role[:, None] != role[None, :]] = 0.0
    return similarity
