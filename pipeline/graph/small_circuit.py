"""The small circuit: the features that together make a graph most complete, within a budget.

Thresholds keep what carries much, one node at a time; a budget asks which few nodes explain most together.
Greedily: of all features the one is taken that raises the completeness of the part most, all that is left out
counted as errors (`subgraph_scores`), then the next, until the budget is spent or the best raises it by less
than a share of what the whole graph has over nothing (after CircuitExplorer's search by completeness).

Every candidate of a step is scored exactly, and all at once. With few features kept, only their rows and the
targets' matter: over the kept, over the errors with what is left out in them, cell by cell, and over the
tokens. Taking a feature changes one cell of each row, so sums are updated and not made again, and influence
among the kept is a few products of small matrices. Candidates are the features of most influence.

Legend: C candidates, K targets, m features taken so far, L layers, T positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.errors import ConfigurationError
from pipeline.graph.attribution_graph import AttributionGraph
from pipeline.graph.edge_blocks import TOKEN_LAYER
from pipeline.graph.influence import SMALLEST_ROW, influence
from pipeline.graph.node_index import NodeIndex

CANDIDATES = 1024
"""Features that may be taken, those of most influence."""

LEAST_GAIN = 0.02
"""Share of the completeness that the whole graph has over no feature, which each feature must add."""

SMALLEST_GAIN = 1e-9
"""Completeness below which nothing is gained, whatever the share."""

LOOK_AHEAD = 16
"""Features, the most influential left, that are tried with every other one where none is worth it alone."""


@dataclass(frozen=True)
class SmallCircuit:
    """Features in the order in which they were taken."""

    nodes: Int[Tensor, " m"]
    """Their numbers among the graph's nodes, which are those of its expanded features."""

    completeness: tuple[float, ...]
    """Completeness with no feature, and after each."""


def small_circuit(graph: AttributionGraph, budget: int, least_gain: float = LEAST_GAIN) -> SmallCircuit:
    """Choose the features that together make a graph most complete.

    Args:
        graph: the whole graph.
        budget: most features to take; tokens and targets always stay.
        least_gain: share of the completeness that the whole graph has over no feature, which each must add.

    Raises:
        ConfigurationError: the budget is below 1.

    """
    if budget < 1:
        raise ConfigurationError(
            f"the budget of the small circuit is {budget}; it must be at least 1 feature."
        )
    rows = _Rows.of(graph)
    budget = min(budget, len(rows.nodes))
    taken: list[int] = []
    reached = [rows.of_nothing()]
    least = max(least_gain * (graph.scores()[1] - reached[0]), SMALLEST_GAIN)
    while len(taken) < budget:
        gained = rows.with_each(taken)
        chosen = [int(gained.argmax())]
        values = [float(gained[chosen[0]])]
        if values[0] - reached[-1] < least:
            chosen, values = _best_pair(rows, taken, gained)
            if len(taken) + 2 > budget or values[1] - reached[-1] < 2 * least:
                break
        for candidate in chosen:
            rows.take(candidate)
        taken += chosen
        reached += values
    return SmallCircuit(rows.nodes[taken].cpu(), tuple(reached))


def _best_pair(rows: _Rows, taken: list[int], alone: Float[Tensor, " C"]) -> tuple[list[int], list[float]]:
    """Return the pair that raises completeness most, one of it a most influential, and what each reaches.

    Features that cancel each other are part of a small error together, and alone make it larger.
    """
    best, reached = [0, 0], [-1.0, -1.0]
    for first in [index for index in rows.by_influence if index not in taken][:LOOK_AHEAD]:
        rows.take(first)
        gained = rows.with_each([*taken, first])
        rows.give_back(first)
        if float(gained.max()) > reached[1]:
            best, reached = [first, int(gained.argmax())], [float(alone[first]), float(gained.max())]
    return best, reached


@dataclass
class _Rows:
    """The rows of candidates and targets, with what is not taken summed up cell by cell; float64."""

    nodes: Int[Tensor, " C"]
    by_influence: list[int]
    """Candidates, the most influential first."""

    cell: Int[Tensor, " C"]
    """Layer and position of each candidate, as an index."""

    between: Float[Tensor, "C+K C"]
    """Edges from candidates."""

    errors: Float[Tensor, "C+K LT"]
    """Signed edges from each cell's error and from the features there that are not taken."""

    error_mass: Float[Tensor, " C+K"]
    other_mass: Float[Tensor, " C+K"]
    """Absolute edges from errors; from tokens and taken features."""

    weights: Float[Tensor, " K"]
    n_layers: int

    @classmethod
    def of(cls, graph: AttributionGraph) -> _Rows:
        nodes, device = graph.node_index(), graph.edges.device
        weights = graph.target_probabilities.to(device)
        flow = nodes.from_sources(influence(graph.edges, weights, nodes.is_node).sources)
        order = flow[: nodes.first_error].argsort(descending=True, stable=True)
        chosen, rank = order[:CANDIDATES].sort()
        between, errors, tokens = _gathered(graph, nodes, chosen)
        sources = graph.edges.sources
        features = sources.active_features[graph.expanded.to(device)][chosen]
        cell = features[:, 0] * sources.n_positions + features[:, 1]
        errors.index_add_(1, cell, between)
        return cls(
            nodes=chosen,
            by_influence=rank.argsort().tolist(),
            cell=cell,
            between=between,
            errors=errors,
            error_mass=errors.abs().sum(1),
            other_mass=tokens,
            weights=weights.double(),
            n_layers=graph.n_layers,
        )

    def take(self, candidate: int) -> None:
        """Move a candidate from its cell's error to the features that are taken."""
        self._move(candidate, 1)

    def give_back(self, candidate: int) -> None:
        """Undo `take`."""
        self._move(candidate, -1)

    def _move(self, candidate: int, sign: int) -> None:
        cell, edges = self.cell[candidate], self.between[:, candidate]
        before = self.errors[:, cell].abs()
        self.errors[:, cell] -= sign * edges
        self.error_mass += self.errors[:, cell].abs() - before
        self.other_mass += sign * edges.abs()

    def of_nothing(self) -> float:
        """Return the completeness with no feature taken."""
        error, total = self.error_mass[self._targets()], self._totals()[self._targets()]
        carried = self.weights.sum() + self.weights @ (total > SMALLEST_ROW).double()
        lost = self.weights @ (error / total.clamp(min=SMALLEST_ROW))
        return float(1 - lost / carried.clamp(min=SMALLEST_ROW))

    def with_each(self, taken: list[int]) -> Float[Tensor, " C"]:
        """Return the completeness with each candidate taken too; -1 for those that are taken already."""
        K, C, device = len(self.weights), len(self.nodes), self.between.device
        own = torch.tensor([*self._targets().tolist(), *taken], device=device)
        # The rows that are kept, each as every candidate changes it; the candidate's own row comes last.
        edges, cells = self.between[own], self.errors[own][:, self.cell]
        error = self.error_mass[own, None] + (cells - edges).abs() - cells.abs()
        total = self._totals()[own, None] + (error - self.error_mass[own, None]) + edges.abs()
        error = torch.cat((error, self.error_mass[None, :C]))
        total = torch.cat((total, self._totals()[None, :C]))
        divisor = total.clamp(min=SMALLEST_ROW)
        to_taken = edges[:, taken].abs()[:, :, None].expand(-1, -1, C)
        flows = torch.cat((to_taken, edges.abs()[:, None]), 1)
        of_candidate = torch.cat((self.between[:C, taken].abs().T, edges.new_zeros(1, C)))
        flows = torch.cat((flows, of_candidate[None])) / divisor[:, None]
        start = torch.einsum("k,kac->ac", self.weights, flows[:K])
        carried = start
        for _ in range(self.n_layers):  # no path has more features than there are layers
            carried = start + torch.einsum("bc,bac->ac", carried, flows[K:])
        rows = torch.cat((self.weights[:, None].expand(-1, C), carried))
        everything = self.weights.sum() + (rows * (total > SMALLEST_ROW)).sum(0)
        lost = (rows * (error / divisor)).sum(0)
        found = 1 - lost / everything.clamp(min=SMALLEST_ROW)
        return found.index_fill(0, own[K:], -1)

    def _targets(self) -> Int[Tensor, " K"]:
        C = len(self.nodes)
        return torch.arange(C, C + len(self.weights), device=self.between.device)

    def _totals(self) -> Float[Tensor, " C+K"]:
        return self.error_mass + self.other_mass


def _gathered(
    graph: AttributionGraph, nodes: NodeIndex, chosen: Int[Tensor, " C"]
) -> tuple[Float[Tensor, "C+K C"], Float[Tensor, "C+K LT"], Float[Tensor, " C+K"]]:
    """Return edges from candidates, signed sums by cell of all else but tokens, absolute sums of tokens."""
    device, sources = graph.edges.device, graph.edges.sources
    C, K, cells = len(chosen), len(graph.targets), sources.n_layers * sources.n_positions
    row_of = torch.full((graph.edges.n_rows,), -1, device=device)
    row_of[graph.expanded.to(device)[chosen]] = torch.arange(C, device=device)
    row_of[-K:] = torch.arange(C, C + K, device=device)
    column_of = torch.full((sources.count,), -1, device=device)
    column_of[sources.features[graph.expanded.to(device)[chosen]]] = torch.arange(C, device=device)
    cell_of = torch.repeat_interleave(sources.cell_starts.diff())
    between = torch.zeros(C + K, C, device=device, dtype=torch.float64)
    errors = torch.zeros(C + K, cells, device=device, dtype=torch.float64)
    tokens = torch.zeros(C + K, device=device, dtype=torch.float64)
    for block in graph.edges.blocks:
        wanted = (row_of[block.rows] >= 0).nonzero()[:, 0]
        rows, edges = row_of[block.rows[wanted]], block.weights[:, wanted].double()
        if block.layer == TOKEN_LAYER:
            tokens.index_add_(0, rows, edges.abs().sum(0))
            continue
        column = column_of[block.sources]
        inside = (column >= 0).nonzero()[:, 0]
        between[rows[:, None], column[inside]] = edges[inside].T
        # Features without a row take no part in scores.
        outside = ((column < 0) & nodes.is_node[block.sources]).nonzero()[:, 0]
        part = torch.zeros(cells, len(rows), device=device, dtype=torch.float64)
        part.index_add_(0, cell_of[block.sources[outside]], edges[outside])
        errors[rows] += part.T
    return between, errors, tokens
