"""Draws for a graph's tests: features over the whole range of influence, and matched random sets.

A random set is fair as a comparison only if its features could have been the circuit's: each stands in
for one feature of the circuit, at the same layer and position and of similar activation. Candidates of
similar size are those next to it in the order of log |activation| (or of another size that is given); where a
cell has no candidate left, one of the same layer is taken, and the share of exact matches is reported.

A circuit holds the largest features of its cells, so such sets are smaller than it. An equal set is filled up
from the circuit's cells, then from its layers, then from everywhere, until the sums agree to 5%; what is
missing even then shows in `size_ratio`.

Two more kinds of sets of equal sum: drawn from all active features, the circuit's included, and taken
greedily from a given order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

STRATA = 4
"""Bands of influence that single features are drawn from evenly."""

NEAR = 3
"""Candidates on either side in the order of size among which chance decides."""


def stratified(
    influence: Float[np.ndarray, " n"], count: int, random: np.random.Generator
) -> Int[np.ndarray, " m"]:
    """Draw indices evenly from quantile bands of influence; all of them if there are no more than `count`."""
    if len(influence) <= count:
        return np.arange(len(influence))
    bands = np.array_split(np.argsort(-influence, kind="stable"), STRATA)
    shuffled = [random.permutation(band) for band in bands]
    rounds = [band[i] for i in range(len(bands[0])) for band in shuffled if i < len(band)]
    return np.sort(np.array(rounds[:count]))


TOLERANCE = 0.05
"""Share by which the summed sizes of an equal set may differ."""


@dataclass(frozen=True)
class EqualSet:
    """A set instead of a chosen one, of like summed size."""

    indices: Int[np.ndarray, " m"]
    """Indices into the active features, ascending."""

    size_ratio: float
    """Their summed size over that of the features they stand for."""


@dataclass(frozen=True)
class MatchedSet(EqualSet):
    """A random set of features that could have been the chosen ones."""

    matched: float
    """Share of them at the layer and position of the feature they stand for."""


def fill(
    order: Iterable[int], sizes: Float[np.ndarray, " N"], wanted: float, taken: Iterable[int] = ()
) -> EqualSet:
    """Add features in an order until their sizes sum to `wanted`, passing over those that are too large."""
    chosen = set(taken)
    total = float(sum(sizes[index] for index in chosen))
    for index in order:
        if total >= (1 - TOLERANCE) * wanted:
            break
        if index not in chosen and total + sizes[index] <= (1 + TOLERANCE) * wanted:
            chosen.add(index)
            total += float(sizes[index])
    return EqualSet(np.array(sorted(chosen), dtype=int), total / max(wanted, 1e-30))


def draw_active(sizes: Float[np.ndarray, " N"], wanted: float, random: np.random.Generator) -> EqualSet:
    """Draw a set of a summed size from all active features."""
    return fill(random.permutation(len(sizes)).tolist(), sizes, wanted)


class MatchedSampler:
    """Source of random sets like a chosen set of active features, from those outside it."""

    def __init__(
        self,
        active: Int[np.ndarray, "N 3"],
        activations: Float[np.ndarray, " N"],
        chosen: Int[np.ndarray, " n"],
    ) -> None:
        self._sizes = np.log(np.maximum(np.abs(activations), 1e-30))
        self._activations = activations
        self._cell = [tuple(cell) for cell in active[:, :2].tolist()]
        self._chosen = chosen
        outside = np.setdiff1d(np.arange(len(active)), chosen)
        self._candidates: dict[tuple[int, int], list[tuple[float, int]]] = {}
        for index in outside[np.argsort(self._sizes[outside], kind="stable")].tolist():
            entry = (float(self._sizes[index]), index)
            self._candidates.setdefault(self._cell[index], []).append(entry)

    def draw(self, random: np.random.Generator) -> MatchedSet:
        """Draw one set without replacement; smaller than the chosen one where candidates run out."""
        left = {cell: list(entries) for cell, entries in self._candidates.items()}
        taken, replaced, exact = [], [], 0
        for index in random.permutation(self._chosen).tolist():
            cell = self._cell[index]
            from_cell = cell if left.get(cell) else _fullest(left, cell[0])
            if from_cell is None:
                continue
            taken.append(_take_near(left[from_cell], float(self._sizes[index]), random))
            replaced.append(index)
            exact += from_cell == cell
        total = np.abs(self._activations[replaced]).sum()
        return MatchedSet(
            indices=np.sort(np.array(taken, dtype=int)),
            matched=exact / max(len(taken), 1),
            size_ratio=float(np.abs(self._activations[taken]).sum() / max(total, 1e-30)),
        )

    def draw_equal(self, random: np.random.Generator) -> MatchedSet:
        """Draw a set whose summed size is that of the whole chosen set, as far as there are features."""
        drawn = self.draw(random)
        sizes = np.abs(self._activations)
        wanted, total = float(sizes[self._chosen].sum()), float(sizes[drawn.indices].sum())
        taken, exact = set(drawn.indices.tolist()), drawn.matched * len(drawn.indices)
        for number, pool in enumerate(self._pools):
            if total >= (1 - TOLERANCE) * wanted:
                break
            filled = fill(random.permutation(pool).tolist(), sizes, wanted, taken)
            exact += (len(filled.indices) - len(taken)) * (number == 0)
            taken, total = set(filled.indices.tolist()), float(sizes[filled.indices].sum())
        for index in random.permutation(sorted(taken)).tolist():
            if total > (1 + TOLERANCE) * wanted and total - sizes[index] >= (1 - TOLERANCE) * wanted:
                taken.remove(index)
                total -= float(sizes[index])
        return MatchedSet(
            np.array(sorted(taken), dtype=int),
            total / max(wanted, 1e-30),
            min(1.0, exact / max(len(taken), 1)),
        )

    @cached_property
    def _pools(self) -> tuple[Int[np.ndarray, " m"], ...]:
        """Features outside the chosen set: in its cells, in its layers, all."""
        outside = np.setdiff1d(np.arange(len(self._cell)), self._chosen)
        cells = {self._cell[index] for index in self._chosen.tolist()}
        layers = {layer for layer, _ in cells}
        return (
            np.array([i for i in outside.tolist() if self._cell[i] in cells], dtype=int),
            np.array([i for i in outside.tolist() if self._cell[i][0] in layers], dtype=int),
            outside,
        )


def _fullest(left: dict[tuple[int, int], list], layer: int) -> tuple[int, int] | None:
    """Return the cell of a layer with most candidates left."""
    cells = [cell for cell, entries in left.items() if cell[0] == layer and entries]
    return max(cells, key=lambda cell: len(left[cell]), default=None)


def _take_near(entries: list[tuple[float, int]], size: float, random: np.random.Generator) -> int:
    middle = bisect_left(entries, (size, -1))
    low, high = max(0, middle - NEAR), min(len(entries), middle + NEAR)
    return entries.pop(int(random.integers(low, high)))[1]
