"""Which features get a row.

Every active feature is a source; expanding one makes it a target too. All are expanded, or the most
influential: again and again compute influence from the rows known so far and expand those that hold
most of it, until a cap is reached (circuit-tracer's rule) or what the rest holds is within a tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipeline.attribution.row_blocks import CPU_BLOCK_PAIRS, row_blocks
from pipeline.attribution.rows import Descent, descend
from pipeline.attribution.thinning import thin
from pipeline.errors import ConfigurationError
from pipeline.graph import EdgeBlocks, influence


@dataclass(frozen=True)
class Exploration:
    """The rule that chooses features, and how their rows are computed."""

    max_feature_nodes: int | None = None
    """Most features to expand; None for no cap."""

    tolerance: float | None = None
    """Stop when features without a row hold less than this share of influence; None to go on."""

    batch_size: int = 512
    """With `update_interval`, how many features a cap's rule chooses at a time (their product)."""

    update_interval: int = 4
    """See `batch_size`."""

    block_pairs: int = CPU_BLOCK_PAIRS
    """(row, position) pairs carried down together."""

    edges_per_row: int | None = None
    """How many of a row's strongest feature edges are kept at least; None for all."""

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            ConfigurationError: naming the option, its value and its range.

        """
        for name in ("max_feature_nodes", "batch_size", "update_interval", "block_pairs", "edges_per_row"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} is {value}; it must be at least 1.")
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise ConfigurationError(
                f"tolerance is {self.tolerance}; it is a share and must be between 0 and 1."
            )

    def explores_all(self, n_active: int) -> bool:
        """Say whether every one of so many features gets a row."""
        capped = self.max_feature_nodes is not None and self.max_feature_nodes < n_active
        return not capped and self.tolerance is None


def explore(
    descent: Descent, weights: Float[Tensor, " K"], rule: Exploration
) -> tuple[EdgeBlocks, Int[Tensor, " m"]]:
    """Compute the rows of all targets and of the features that a rule chooses.

    Returns:
        The edges, and the expanded features as ascending indices into the active ones.

    """
    n_active = len(descent.sources.active_features)
    device = descent.sources.active_features.device
    if rule.explores_all(n_active):
        everything = torch.arange(n_active + len(weights), device=device)
        return _rows(descent, everything, rule), everything[:n_active]

    expanded = torch.zeros(n_active, dtype=torch.bool, device=device)
    edges = _rows(descent, n_active + torch.arange(len(weights), device=device), rule)
    while len(chosen := _next(edges, weights, expanded, rule)):
        expanded[chosen] = True
        edges = edges + _rows(descent, chosen, rule)
    return edges, expanded.nonzero()[:, 0]


def _next(
    edges: EdgeBlocks, weights: Float[Tensor, " K"], expanded: Bool[Tensor, " n"], rule: Exploration
) -> Int[Tensor, " chosen"]:
    """Return the features to expand now, most influential first; none when the rule is satisfied."""
    everything = torch.ones(edges.sources.count, dtype=torch.bool, device=edges.device)
    flow = influence(edges, weights, everything).sources
    features = flow[edges.sources.features]
    ranked = torch.argsort(features, descending=True, stable=True)
    waiting = ranked[~expanded[ranked]]
    left = len(expanded) if rule.max_feature_nodes is None else rule.max_feature_nodes
    left -= int(expanded.sum())
    if rule.tolerance is None:
        return waiting[: min(left, rule.batch_size * rule.update_interval)]
    # The fewest that leave less than the tolerance; what flows on from them may need another round.
    held = features[waiting].double()
    rest = held.sum() - held.cumsum(0)
    allowed = rule.tolerance * float(flow.double().sum())
    needed = 0 if held.sum() < allowed else int((rest >= allowed).sum()) + 1
    return waiting[: min(left, needed)]


def _rows(descent: Descent, rows: Int[Tensor, " R"], rule: Exploration) -> EdgeBlocks:
    blocks = []
    for block in row_blocks(descent.sources, descent.targets.reads, rows, rule.block_pairs):
        edges = descend(descent, block)
        blocks += edges if rule.edges_per_row is None else thin(edges, descent.sources, rule.edges_per_row)
    return EdgeBlocks(descent.sources, len(descent.targets.targets), tuple(blocks))
