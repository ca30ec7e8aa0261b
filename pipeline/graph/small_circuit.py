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

LEAST_GAIN = 0.01
"""Share of the completeness that the whole graph has over no feature, which each feature must add."""


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
    n_candidates = len(rows.nodes)
    taken: list[int] = []
    reached = [rows.completeness(taken)]
    whole = graph.scores()[1]
    while len(taken) < min(budget, n_candidates):
        gained = rows.with_each(taken)
        gained[taken] = -1
        best = int(gained.argmax())
        if gained[best] - reached[-1] < max(least_gain * (whole - reached[0]), 1e-9):
            break
        taken.append(best)
        rows.take(best)
        reached.append(float(gained[best]))
    return SmallCircuit(rows.nodes[taken].cpu(), tuple(reached))


@dataclass
class _Rows:
    """The rows of candidates and targets, with what is not taken summed up cell by cell; float64."""

    nodes: Int[Tensor, " C"]
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
        chosen = order[:CANDIDATES].sort().values
        between, errors, tokens = _gathered(graph, nodes, chosen)
        sources = graph.edges.sources
        features = sources.active_features[graph.expanded.to(device)][chosen]
        cell = features[:, 0] * sources.n_positions + features[:, 1]
        errors.index_add_(1, cell, between)
        return cls(
            chosen, cell, between, errors, errors.abs().sum(1), tokens, weights.double(), graph.n_layers
        )

    def take(self, candidate: int) -> None:
        """Move a candidate from its cell's error to the features that are taken."""
        cell, edges = self.cell[candidate], self.between[:, candidate]
        before = self.errors[:, cell].abs()
        self.errors[:, cell] -= edges
        self.error_mass += self.errors[:, cell].abs() - before
        self.other_mass += edges.abs()

    def completeness(self, taken: list[int]) -> float:
        """Return the completeness of what is taken."""
        rows = self._targets()
        no_more = self.between.new_zeros(len(rows) + len(taken), 1)
        return float(self._score(taken, no_more, no_more, None)[0])

    def with_each(self, taken: list[int]) -> Float[Tensor, " C"]:
        """Return the completeness with each candidate taken too."""
        index = torch.tensor([*self._targets().tolist(), *taken], device=self.between.device)
        edges = self.between[index]
        cells = self.errors[index][:, self.cell]
        return self._score(taken, (cells - edges).abs() - cells.abs(), edges.abs(), self.between)

    def _targets(self) -> Int[Tensor, " K"]:
        C = len(self.nodes)
        return torch.arange(C, C + len(self.weights), device=self.between.device)

    def _score(
        self,
        taken: list[int],
        error_change: Float[Tensor, "K+m C"],
        from_new: Float[Tensor, "K+m C"],
        between: Float[Tensor, "C+K C"] | None,
    ) -> Float[Tensor, " C"]:
        """Score sets that differ in their last feature; None where there is no such feature."""
        K, m, C = len(self.weights), len(taken), error_change.shape[1]
        index = torch.tensor([*self._targets().tolist(), *taken], device=self.between.device)
        error = self.error_mass[index, None] + error_change
        total = (error + self.other_mass[index, None] + from_new).clamp(min=SMALLEST_ROW)
        # Influence on the taken from each row, and on the new one; the new one's own row goes last.
        among = self.between[index][:, taken].abs()
        flows = torch.cat((among[:, :, None].expand(-1, -1, C), from_new[:, None]), 1) / total[:, None]
        shares = error / total
        if between is not None:
            new_total = (self.error_mass + self.other_mass)[:C].clamp(min=SMALLEST_ROW)
            last = torch.cat((between[:C][:, taken].abs().T, between.new_zeros(1, C))) / new_total
            flows = torch.cat((flows, last[None]))
            shares = torch.cat((shares, (self.error_mass[:C] / new_total)[None]))
        else:
            flows, shares = flows[:, :m], shares
        start = torch.einsum("k,kac->ac", self.weights, flows[:K])
        carried = start
        for _ in range(self.n_layers):  # no path has more features than there are layers
            carried = start + torch.einsum("bc,bac->ac", carried, flows[K:])
        lost = self.weights @ shares[:K] + (carried * shares[K:]).sum(0)
        return 1 - lost / (2 * self.weights.sum() + carried.sum(0)).clamp(min=SMALLEST_ROW)


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
