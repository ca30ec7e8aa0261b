"""Path patching (Wang et al. 2022; Goldowsky-Dill et al. 2023): what goes from one node straight to another.

The source is set to the partner's activation while patterns, norms and all other features are held, so that
the target hears of it directly and of nothing else; the target then takes the activation that it has there,
in a run with everything else as it was. A path into the output is read in the first of these runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from pipeline.intervention import constrained, run_passes
from pipeline.validation.pairs.runs import (
    RUNS,
    Cells,
    Edge,
    PairRuns,
    Recovered,
    Row,
    activations_at,
    as_cells,
    batch_of,
    source_columns,
    value_of,
)


@dataclass(frozen=True)
class PatchedPath:
    """An edge with what was measured on it."""

    edge: Edge
    source: int
    """Index among the circuit's features."""

    activation: float | None
    """Of a target that is a feature, on the prompt."""

    patched: float | None
    """The same when it hears of the source alone."""

    falls: dict[str, float]
    """Fall of the value by run."""


def patch_paths(runs: PairRuns, edges: Sequence[Edge], count: int) -> list[PatchedPath]:
    """Patch the strongest edges whose source differs."""
    index = {tuple(cell): i for i, cell in enumerate(runs.cells.tolist())}
    differs: Bool[np.ndarray, " n"] = runs.own != runs.partners
    chosen = [edge for edge in edges if edge.source in index and differs[index[edge.source]]]
    chosen = sorted(chosen, key=lambda edge: (-edge.influence, edge.source, edge.target or ()))[:count]
    if not chosen:
        return []
    sources = sorted({index[edge.source] for edge in chosen})
    targets = sorted({edge.target for edge in chosen if edge.target is not None})
    heard, direct = _hear(runs, sources, as_cells(targets))
    clean = dict(zip(targets, activations_at(runs.base, as_cells(targets), 0), strict=True))
    into_features = [edge for edge in chosen if edge.target is not None]
    sets = [
        (as_cells([edge.target]), heard[sources.index(index[edge.source]), [targets.index(edge.target)]])
        for edge in into_features
    ]
    live = {run: iter(runs.clean - runs.run(mode, sets)) for run, mode in RUNS.items()}
    paths = []
    for edge in chosen:
        row = sources.index(index[edge.source])
        if edge.target is None:
            falls = {"held": float(runs.clean - direct[row])}
            paths.append(PatchedPath(edge, index[edge.source], None, None, falls))
        else:
            patched = float(heard[row, targets.index(edge.target)])
            falls = {run: float(next(values)) for run, values in live.items()}
            paths.append(PatchedPath(edge, index[edge.source], float(clean[edge.target]), patched, falls))
    return paths


def _hear(
    runs: PairRuns, sources: list[int], targets: Cells
) -> tuple[Float[np.ndarray, "s t"], Float[np.ndarray, " s"]]:
    """Return the targets' activations and the value where one source alone differs, all else held."""
    sets = [(runs.cells[i][None], runs.partners[i][None]) for i in sources]
    heard, values = np.zeros((len(sources), len(targets))), np.zeros(len(sources))
    mode = constrained(range(runs.base.model.n_layers))
    for outcome in run_passes(runs.base, batch_of(runs.base, sets), mode, torch.from_numpy(targets)):
        rows = outcome.rows.cpu().numpy()
        heard[rows], values[rows] = outcome.activations.double().cpu().numpy(), value_of(outcome.logits, runs)
    return heard, values


def path_row(runs: PairRuns, path: PatchedPath, number: int, recovered: Recovered) -> Row:
    """Return a path's row of `pair_effects`, without the prompt's key."""
    layer, position, feature = path.edge.target or (runs.base.model.n_layers, runs.base.n_positions - 1, None)
    row = {
        "patch": "path",
        "number": number,
        **source_columns(runs, path.source),
        "influence": path.edge.influence,
        "target_kind": "logit" if path.edge.target is None else "feature",
        "target_layer": layer,
        "target_position": position,
        "target_feature": feature,
        "target_activation": path.activation,
        "target_patched": path.patched,
    }
    for run, fall in path.falls.items():
        row |= {f"{run}_effect": fall, f"{run}_recovered": recovered(fall)}
    return row
