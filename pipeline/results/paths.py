"""The strongest paths from a set of nodes to one node of an attribution graph.

An edge's share is its |weight| over all |input| of its target, of edges that pruning kept or not: the part of
the target's input that comes this way. A path's strength is the product of its shares, so the strengths of
all paths into a node sum to at most 1; what is missing came over edges that are not in the graph. Search is
best-first from the end backwards, with the strength of the best completion (one pass over the nodes in layer
order) as an exact heuristic: only nodes on the paths returned are expanded.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Path:
    """A chain of edges through a graph."""

    nodes: tuple[int, ...]
    """Indices of its nodes, from start to end."""

    strength: float
    """Product of the shares of its edges."""

    sign: int
    """1 if it speaks for the end, -1 if against: the product of the signs of its edges."""


@dataclass(frozen=True)
class Edges:
    """Edges of a graph as parallel arrays."""

    source: Int[np.ndarray, " edges"]
    target: Int[np.ndarray, " edges"]
    weight: Float[np.ndarray, " edges"]

    total_input: Float[np.ndarray, " nodes"]
    """Sum of the absolute edges into each node of the whole graph; 0 or NaN for nodes without inputs."""

    def shares(self) -> Float[np.ndarray, " edges"]:
        """Return the part of each target's input that comes over each edge."""
        return np.abs(self.weight) / np.maximum(self.total_input[self.target], 1e-30)


def strongest_paths(
    edges: Edges,
    layer: Int[np.ndarray, " nodes"],
    is_start: Bool[np.ndarray, " nodes"],
    end: int,
    count: int,
) -> list[Path]:
    """Return the strongest paths from any start to the end, strongest first.

    Args:
        edges: the graph's edges; each leads from a lower layer to a higher one.
        layer: each node's layer.
        is_start: where a path may begin.
        end: where it ends.
        count: most paths to return.

    """
    share = edges.shares()
    by_target = np.argsort(edges.target, kind="stable")
    first = np.searchsorted(edges.target[by_target], np.arange(len(layer) + 1))
    incoming = [by_target[a:b] for a, b in pairwise(first)]
    best = _best_completion(edges, share, incoming, layer, is_start)
    return list(islice(_search(edges, share, incoming, best, is_start, end), count))


def _best_completion(
    edges: Edges,
    share: Float[np.ndarray, " edges"],
    incoming: list[Int[np.ndarray, " in_edges"]],
    layer: Int[np.ndarray, " nodes"],
    is_start: Bool[np.ndarray, " nodes"],
) -> Float[np.ndarray, " nodes"]:
    """Return, for each node, the strength of the strongest path from a start to it."""
    best = is_start.astype(np.float64)
    for node in np.argsort(layer, kind="stable"):
        into = incoming[node]
        if len(into) and not is_start[node]:
            best[node] = (share[into] * best[edges.source[into]]).max()
    return best


def _search(
    edges: Edges,
    share: Float[np.ndarray, " edges"],
    incoming: list[Int[np.ndarray, " in_edges"]],
    best: Float[np.ndarray, " nodes"],
    is_start: Bool[np.ndarray, " nodes"],
    end: int,
) -> Iterator[Path]:
    """Yield paths in the order of their strength."""
    ticket = 0  # equal strengths come out in the order in which they were found
    heap = [(-best[end], ticket, Path((end,), 1.0, 1))]
    while heap:
        _, _, path = heapq.heappop(heap)
        head = path.nodes[0]
        if is_start[head]:
            yield path
            continue
        for edge in incoming[head]:
            source = int(edges.source[edge])
            strength = path.strength * float(share[edge])
            if strength * best[source] > 0:
                ticket += 1
                sign = path.sign * int(np.sign(edges.weight[edge]))
                longer = Path((source, *path.nodes), strength, sign)
                heapq.heappush(heap, (-strength * best[source], ticket, longer))
