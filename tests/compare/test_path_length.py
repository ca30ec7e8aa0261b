from __future__ import annotations

import numpy as np
import pytest

from pipeline.compare.path_length import path_lengths


def edges(rows: list[tuple]) -> dict[str, np.ndarray]:
    """Edges as (prompt, source layer, target layer, weight, total input, influence), a node a layer.

    Layer 9 is the target's.
    """
    prompt, source, target, weight, total_input, influence = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    zeros = np.zeros(len(rows), int)
    positions = {f"{end}_{name}": zeros for end in ("source", "target") for name in ("position", "feature")}
    layers = {"source_layer": source, "target_layer": target}
    return {
        "prompt": prompt,
        "weight": weight,
        "total_input": total_input,
        "influence": influence,
        "at_logit": target == 9,
        **positions,
        **layers,
    }


def test_lengths_are_means_over_paths_by_their_share() -> None:
    rows = [
        (1, -1, 9, 1.0, 4.0, 0.5),
        (1, 0, 9, -3.0, 4.0, 0.5),
        (1, -1, 0, 7.0, 7.0, 0.1),
        (2, -1, 0, 1.0, 1.0, 0.1),
        (2, 0, 3, 1.0, 1.0, 0.1),
        (2, 3, 9, 2.0, 2.0, 0.1),
    ]
    prompts, lengths = path_lengths(edges(rows[::-1]))
    assert prompts.tolist() == [1, 2]
    # A quarter of the first prompt's paths are one edge long, the others two.
    assert lengths.tolist() == pytest.approx([1.75, 3.0])


def test_a_path_counts_by_its_share_of_all_input() -> None:
    rows = [(1, -1, 9, 1.0, 4.0, 0.5), (1, 0, 9, -3.0, 4.0, 0.5), (1, -1, 0, 1.0, 3.0, 0.1)]
    # Paths of one edge and of two hold a quarter of all input each; of kept edges, one and three quarters.
    assert path_lengths(edges(rows))[1].tolist() == pytest.approx([1.5])


def test_no_edges_no_lengths() -> None:
    empty = {name: values[:0] for name, values in edges([(1, 0, 9, 1.0, 1.0, 1.0)]).items()}
    assert len(path_lengths(empty)[0]) == 0
