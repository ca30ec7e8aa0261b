"""False verdicts of necessity, on graphs in clusters that all but repeat one another.

A circuit without an effect is one more of its random sets; with an effect it loses far more. Beside q-values
over the graphs stand their single p-values.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from pipeline.validation import LEVEL, ValidationConfig, necessity_q_values

GRAPHS, REPEATS = 160, 4
"""Graphs that are judged at once, and how many of them all but repeat one another."""

Counts = Int[np.ndarray, "labelings 2"]
"""False and true discoveries of each labeling."""


def judged(necessary: float, labelings: int, seed: int = 2) -> dict[str, Counts]:
    """Judge graphs again and again of which a share has a necessary circuit, by q-values and by p-values.

    Args:
        necessary: share of the clusters of graphs whose circuits have an effect.
        labelings: times that graphs are made.
        seed: of everything that is drawn.

    """
    random = np.random.default_rng(seed)
    clusters, draws = GRAPHS // REPEATS, ValidationConfig().draws
    real = np.repeat(np.arange(clusters) < necessary * clusters, REPEATS)
    counts: dict[str, list[tuple[int, int]]] = {"q-values": [], "p-values": []}
    for _ in range(labelings):
        losses = np.repeat(random.normal(size=(clusters, draws + 1)), REPEATS, axis=0)
        losses += random.normal(0, 0.1, losses.shape)
        losses[real, 0] += 10
        ranks = 1.0 + (losses[:, 1:] >= losses[:, :1]).sum(1)
        q_values = necessity_q_values(ranks, np.full(GRAPHS, float(draws)), np.ones(GRAPHS, bool))
        for name, values in (("q-values", q_values), ("p-values", ranks / (draws + 1))):
            found = values <= LEVEL
            counts[name].append((int((found & ~real).sum()), int((found & real).sum())))
    return {name: np.array(of_each) for name, of_each in counts.items()}


def rows(labelings: int) -> list[tuple[str, ...]]:
    """Return rows of the report: false verdicts, labelings with any, their share, the share that is found."""
    found = []
    for necessary, name in ((0.0, "graphs, none necessary"), (0.5, "graphs, half necessary")):
        for units, counts in judged(necessary, labelings).items():
            false, true = counts.T
            rate = np.mean(false / np.maximum(false + true, 1))
            planted = f"{true.mean() / (necessary * GRAPHS):.3f}" if necessary else ""
            found.append(
                (name, units, f"{false.mean():.2f}", f"{np.mean(false > 0):.3f}", f"{rate:.3f}", planted)
            )
    return found
