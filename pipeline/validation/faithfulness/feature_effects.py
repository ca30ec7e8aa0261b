"""Effects of a feature on later features, observed and as the graph predicts them.

A source is set to 0 over a constrained range that covers the layers where it writes and no more than it
must: its own layer for a per-layer transcoder; for a cross-layer one all but the last, since its writes
reach only the range. Inside the range effects are true by construction, so later features are watched
outside it. The prediction carries the source's removal over the graph's kept edges, layer by layer: a
feature whose pre-activation is predicted to change by c passes on the share c / activation of its
edges. Features with a live layer between the range and themselves show knock-on effects, which the graph
could get wrong; the others check little more than norms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from pipeline.intervention import BaseRun, CellReader, InterventionBatch, constrained, run_passes
from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.statistics import spearman


@dataclass(frozen=True)
class SourceTest:
    """One source's predicted and observed effects on m later features."""

    source: int
    """Index among the kept features."""

    layers: range
    """The constrained range."""

    predicted: Float[np.ndarray, " m"]
    observed: Float[np.ndarray, " m"]
    """Changes of activation."""

    knock_on: Bool[np.ndarray, " m"]
    """True where a live layer lies between the range and the later feature."""

    @property
    def spearman(self) -> float | None:
        """Rank correlation over the later features."""
        return spearman(self.predicted, self.observed)


def sources_to_test(circuit: Circuit, n_layers: int) -> Int[np.ndarray, " m"]:
    """Return the kept features that have a layer above them."""
    return np.flatnonzero(circuit.features[:, 0] < n_layers - 1)


def ablate_sources(base: BaseRun, circuit: Circuit, sources: Int[np.ndarray, " m"]) -> list[SourceTest]:
    """Ablate each source over its range and compare what later features do with what the graph says."""
    tests = []
    for layer in np.unique(circuit.features[sources, 0]).tolist():
        here = sources[circuit.features[sources, 0] == layer]
        layers = constrained_range(base, layer)
        later = np.flatnonzero(circuit.features[:, 0] >= layers.stop)
        if len(later):
            tests += _ablate_layer(base, circuit, here, layers, later)
    return tests


def constrained_range(base: BaseRun, layer: int) -> range:
    """Return the layers to constrain for a source."""
    writes = base.model.transcoders.layers[layer].decoder.shape[1]
    return range(layer, layer + 1 if writes == 1 else base.model.n_layers - 1)


def _ablate_layer(
    base: BaseRun,
    circuit: Circuit,
    sources: Int[np.ndarray, " s"],
    layers: range,
    later: Int[np.ndarray, " m"],
) -> list[SourceTest]:
    features = torch.from_numpy(circuit.features)
    changes = InterventionBatch.ablating(base, [features[source][None] for source in sources])
    clean = CellReader.of(base, features[later], raw=False).clean[0]
    predicted = predicted_changes(circuit, sources, layers.stop)[later]
    knock_on = circuit.features[later, 0] > layers.stop
    observed = np.zeros((len(sources), len(later)))
    for outcome in run_passes(base, changes, constrained(layers), features[later]):
        observed[outcome.rows.cpu().numpy()] = (outcome.activations - clean).double().cpu().numpy()
    tests = []
    for row, source in enumerate(sources.tolist()):
        # No position hears from a later one: such pairs agree on 0 whatever the graph says.
        hears = circuit.features[later, 1] >= circuit.features[source, 1]
        if hears.any():
            agreed = predicted[hears, row], observed[row, hears], knock_on[hears]
            tests.append(SourceTest(source, layers, *agreed))
    return tests


def predicted_changes(
    circuit: Circuit, sources: Int[np.ndarray, " s"], first_live: int
) -> Float[np.ndarray, "n s"]:
    """Carry the removal of each source over the kept edges.

    Args:
        circuit: the graph.
        sources: features that are removed, one a column.
        first_live: first layer above the constrained range, whose features respond.

    """
    share = np.zeros((len(circuit.features), len(sources)))
    share[sources, np.arange(len(sources))] = -1.0
    change = np.zeros_like(share)
    for layer in range(first_live, int(circuit.features[:, 0].max()) + 1):
        rows = np.flatnonzero(circuit.features[:, 0] == layer)
        change[rows] = circuit.edges[rows] @ share
        share[rows] = change[rows] / circuit.activations[rows, None]
    return change
