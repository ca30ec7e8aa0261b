"""The numbers that decide what a graph takes: of a model and of a prompt.

Legend: L layers, d model width, H heads, K key/value heads, h head width, F features of a layer,
T positions, n active features, R rows (expanded features and targets).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.graph import AttributionGraph, PrunedGraph
from pipeline.model import NeuronLayer, ReplacementModel
from pipeline.transcoders import TranscoderLayer


@dataclass(frozen=True)
class ModelSizes:
    """A model with its dictionary."""

    layers: int
    """L."""

    width: int
    """d."""

    heads: int
    """H."""

    query_width: int
    """H h: what the attention's output matrix reads, in the widest layer."""

    value_width: int
    """K h: what its value matrix writes, in the widest layer."""

    features: int
    """F of the largest layer."""

    written: float
    """Layers that a feature writes to, on average: 1 for a PLT, (L + 1) / 2 for a CLT."""

    has_skip: bool
    """True where the transcoders have an affine skip path."""

    zero_positions: int
    """First positions of a prompt that carry no features."""

    element_bytes: int
    """Bytes of one number of a row."""

    active: float | None = None
    """Active features of a layer and position where that is known: of neurons all, or the strongest."""

    @classmethod
    def of(cls, model: ReplacementModel) -> ModelSizes:
        """Measure a model."""
        attentions = [maps.attention for maps in model.maps]
        layers = model.transcoders.layers
        return cls(
            layers=model.n_layers,
            width=model.d_model,
            heads=model.model.config.num_attention_heads,
            query_width=max(attention.output.shape[1] for attention in attentions),
            value_width=max(attention.value.shape[0] for attention in attentions),
            features=max(layer.n_features for layer in layers),
            written=sum(layer.decoder.shape[1] for layer in layers) / len(layers),
            has_skip=any(layer.skip is not None for layer in layers),
            zero_positions=model.zero_positions,
            active=_active(layers),
            element_bytes=attentions[0].output.element_size(),
        )

    def sources(self, positions: int, active: float) -> float:
        """Return how many sources a prompt has: features, errors, tokens."""
        return active + (self.layers + 1) * positions

    def row_operations(self, positions: int, active: float, rows: float) -> float:
        """Return about how many floating-point operations rows take, if they lie evenly in the prompt."""
        # Half of the layers lie below a row, and half of the positions up to its own.
        pairs = rows * positions * self.layers / 4
        attention = 2 * self.width * (self.query_width + self.value_width)
        return pairs * attention + rows * self.sources(positions, active) / 4 * 2 * self.width


def _active(layers: Sequence[TranscoderLayer]) -> float | None:
    if not all(isinstance(layer, NeuronLayer) for layer in layers):
        return None
    return sum(min(layer.strongest or layer.n_features, layer.n_features) for layer in layers) / len(layers)


@dataclass(frozen=True)
class PromptSizes:
    """One prompt and its graph; counts may be estimates."""

    positions: int
    """T."""

    active: float
    """n."""

    rows: float
    """R."""

    density: float | None = None
    """Edges held, as a share of rows times sources; None where it is not known."""

    kept_edges: float | None = None
    """Edges that pruning keeps; None where it is not known."""

    @classmethod
    def of(cls, graph: AttributionGraph, pruned: PrunedGraph) -> PromptSizes:
        """Measure a graph before and after pruning."""
        rows = len(graph.expanded) + len(graph.targets)
        possible = rows * graph.edges.sources.count
        held = sum(block.weights.numel() for block in graph.edges.blocks)
        active = len(graph.active_features)
        return cls(graph.n_positions, active, rows, held / possible, len(pruned.target))
