"""The subgraph of recurring edges that carries most of a mechanism's influence for its size.

Grown from the target: of the edges into what is in already, the one that carries most influence comes next,
as long as it carries a twentieth of what the strongest does. So every node has a path to the target, and what
is left out carries less than that, or leads to nothing that is in.
"""

from __future__ import annotations

import heapq

import numpy as np
from jaxtyping import Float, Int

from pipeline.circuits.finding.sums import TARGET

LEAST_OF_STRONGEST = 0.05
"""Share of the strongest edge's influence that every other carries."""

MOST_EDGES = 200
"""Edges of a circuit, so that one can still be read."""


def grow(key: Int[np.ndarray, "e 6"], share: Float[np.ndarray, " e"]) -> Int[np.ndarray, " k"]:
    """Return the numbers of the edges of the subgraph, the strongest first."""
    least = LEAST_OF_STRONGEST * share.max(initial=0.0)
    into: dict[tuple[int, int, int], list[int]] = {}
    for edge, (_, _, _, layer, feature, role) in enumerate(key.tolist()):
        into.setdefault((layer, feature, role), []).append(edge)
    waiting: list[tuple[float, int]] = []
    reached: set[tuple[int, int, int]] = set()

    def reach(node: tuple[int, int, int]) -> None:
        if node not in reached:
            reached.add(node)
            for edge in into.get(node, ()):
                if share[edge] >= least:
                    heapq.heappush(waiting, (-float(share[edge]), edge))

    for node in into:
        if node[1] == TARGET:
            reach(node)
    taken: list[int] = []
    while waiting and len(taken) < MOST_EDGES:
        _, edge = heapq.heappop(waiting)
        taken.append(edge)
        reach(tuple(key[edge, :3].tolist()))
    return np.array(taken, dtype=int)
