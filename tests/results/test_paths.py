from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.results.paths import Edges, Path, strongest_paths

LAYERS = np.array([-1, -1, 0, 0, 1, 2])
"""Two tokens, two features of layer 0, one of layer 1, one target."""

TOKENS = LAYERS == -1


def graph(weights: dict[tuple[int, int], float], pruned: float = 0.0) -> Edges:
    """A graph of these edges, into each of whose nodes pruning left out `pruned` more."""
    source, target = (np.array(ends) for ends in zip(*weights, strict=True))
    weight = np.array(list(weights.values()))
    total = np.bincount(target, np.abs(weight), minlength=len(LAYERS)) + pruned
    return Edges(source, target, weight, np.where(TOKENS, np.nan, total))


def every_path(edges: Edges, end: int) -> list[Path]:
    """Find all paths by walking, the slow and obvious way."""
    share = edges.shares()
    found = []

    def walk(path: Path) -> None:
        if TOKENS[path.nodes[0]]:
            found.append(path)
            return
        for edge in np.flatnonzero(edges.target == path.nodes[0]):
            sign = path.sign * int(np.sign(edges.weight[edge]))
            walk(Path((int(edges.source[edge]), *path.nodes), path.strength * share[edge], sign))

    walk(Path((end,), 1.0, 1))
    return sorted(found, key=lambda path: -path.strength)


def test_strength_is_the_product_of_shares_and_sign_that_of_weights() -> None:
    edges = graph({(0, 2): 1.0, (1, 2): -3.0, (2, 5): -2.0, (0, 5): 2.0})
    paths = strongest_paths(edges, LAYERS, TOKENS, 5, 10)
    assert paths == [Path((0, 5), 0.5, 1), Path((1, 2, 5), 0.375, 1), Path((0, 2, 5), 0.125, -1)]


def test_shares_are_of_all_input_of_a_node_and_not_of_the_edges_that_pruning_kept() -> None:
    edges = graph({(0, 2): 1.0, (1, 2): -3.0, (2, 5): -2.0, (0, 5): 2.0}, pruned=4.0)
    paths = strongest_paths(edges, LAYERS, TOKENS, 5, 10)
    assert [path.strength for path in paths] == pytest.approx([2 / 8, 2 / 8 * 3 / 8, 2 / 8 * 1 / 8])


def test_what_no_token_reaches_has_no_path() -> None:
    assert strongest_paths(graph({(2, 5): 1.0, (3, 4): 1.0}), LAYERS, TOKENS, 5, 3) == []


POSSIBLE = [(a, b) for a, b in product(range(6), repeat=2) if LAYERS[a] < LAYERS[b]]


@given(
    st.dictionaries(st.sampled_from(POSSIBLE), st.floats(-5, 5).filter(lambda w: abs(w) > 1e-3), min_size=1)
)
def test_finds_what_a_walk_over_all_paths_finds(weights: dict[tuple[int, int], float]) -> None:
    edges = graph(weights)
    expected = every_path(edges, 5)
    found = strongest_paths(edges, LAYERS, TOKENS, 5, 100)
    assert {path.nodes: path.sign for path in found} == {path.nodes: path.sign for path in expected}
    assert [path.strength for path in found] == pytest.approx([path.strength for path in expected])
    first = strongest_paths(edges, LAYERS, TOKENS, 5, 2)
    assert [path.strength for path in first] == pytest.approx([path.strength for path in expected[:2]])
