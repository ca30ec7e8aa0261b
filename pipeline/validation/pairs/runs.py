"""The clean runs of a pair of prompts, and runs of one with features held at values.

Legend: n features, B rows of interventions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from pipeline.errors import PromptError
from pipeline.intervention import DEFAULT, OPEN, BaseRun, CellReader, InterventionBatch, Mode, run_passes
from pipeline.model import ReplacementModel, TracedTokens
from pipeline.validation.pairs.config import PairTests

LEAST_LOGITS = 0.1
"""Difference in logits below which there is nothing to recover."""

RUNS: dict[str, Mode] = {"held": DEFAULT, "free": OPEN}
"""Live runs by the names that their columns begin with."""

Row = dict[str, Any]
Cell = tuple[int, int, int]
"""(layer, position, feature)."""

Cells = Int[np.ndarray, "n 3"]


@dataclass(frozen=True)
class Edge:
    """A kept edge from a feature to a feature, or to what is explained."""

    source: tuple[int, int, int]
    """(layer, position, feature)."""

    target: tuple[int, int, int] | None
    """The same of the target; None for the first target of the graph."""

    influence: float


@dataclass(frozen=True)
class Pair:
    """A prompt and its partner, with what pruning kept of their graphs."""

    token_ids: tuple[int, ...]
    partner_ids: tuple[int, ...]
    answer: int
    """Token of the prompt's answer."""

    rival: int
    """Token of the partner's."""

    kept: dict[tuple[int, int, int], float]
    """Influence by kept feature of the prompt's graph."""

    partner_kept: dict[tuple[int, int, int], float]
    """The same of the partner's, at its own positions."""

    edges: Sequence[Edge] = ()
    """Kept edges of the prompt's graph, in any order."""


@dataclass(frozen=True)
class Recovered:
    """The share of a difference that a fall of the value recovers."""

    stake: float

    @property
    def is_at_stake(self) -> bool:
        """True if there is enough to recover for a share of it to mean something."""
        return abs(self.stake) >= LEAST_LOGITS

    def __call__(self, fall: float) -> float | None:
        """Return a fall as a share; None where nothing is at stake."""
        return fall / self.stake if self.is_at_stake else None


@dataclass(frozen=True)
class PairRuns:
    """The clean runs of both prompts, with the features of the circuit."""

    base: BaseRun
    answer: int
    rival: int
    clean: float
    partner_clean: float
    cells: Cells
    """(layer, position, feature) of the circuit, at the prompt's positions."""

    own: Float[np.ndarray, " n"]
    """Activations on the prompt."""

    partners: Float[np.ndarray, " n"]
    """Activations on the partner."""

    influence: Float[np.ndarray, " n"]
    unaligned: int
    everything: Cells
    """All features that are active on either prompt, where both have the position."""

    everything_partners: Float[np.ndarray, " N"]

    @classmethod
    def of(cls, model: ReplacementModel, pair: Pair, config: PairTests) -> PairRuns:
        """Run both prompts, and align their positions.

        Raises:
            PromptError: they differ in length, and are aligned from the start.

        """
        shift = _shift(pair, config)
        base, other = (BaseRun.of(model, [TracedTokens(ids)]) for ids in (pair.token_ids, pair.partner_ids))
        influence = dict(pair.kept)
        for (layer, position, feature), amount in pair.partner_kept.items():
            cell = layer, position - shift, feature
            influence[cell] = max(amount, influence.get(cell, 0.0))
        zero = model.zero_positions
        first, last = max(zero, zero - shift), len(pair.token_ids) - 1  # both end together, or are as long
        cells = [cell for cell in sorted(influence) if first <= cell[1] <= last]
        active = {
            (layer, position - moved, feature)
            for run, moved in ((base, 0), (other, shift))
            for layer, here in enumerate(run.active)
            for _, position, feature in here.tolist()
        }
        everything = as_cells([cell for cell in sorted(active) if first <= cell[1] <= last])
        circuit = as_cells(cells)
        return cls(
            base=base,
            answer=pair.answer,
            rival=pair.rival,
            clean=value_of(base.logits, pair)[0],
            partner_clean=value_of(other.logits, pair)[0],
            cells=circuit,
            own=activations_at(base, circuit, 0),
            partners=activations_at(other, circuit, shift),
            influence=np.array([influence[cell] for cell in cells]),
            unaligned=len(influence) - len(cells),
            everything=everything,
            everything_partners=activations_at(other, everything, shift),
        )

    def run(
        self, mode: Mode, sets: Sequence[tuple[Cells, Float[np.ndarray, " n"]]]
    ) -> Float[np.ndarray, " B"]:
        """Return the value with each of some sets of features held at values."""
        values = np.zeros(len(sets))
        if sets:
            for outcome in run_passes(self.base, batch_of(self.base, sets), mode):
                values[outcome.rows.cpu().numpy()] = value_of(outcome.logits, self)
        return values


def _shift(pair: Pair, config: PairTests) -> int:
    """Return how much later a position of the partner is."""
    shift = len(pair.partner_ids) - len(pair.token_ids)
    if shift and config.align == "start":
        raise PromptError(
            f"it has {len(pair.token_ids)} positions and its partner {len(pair.partner_ids)}, so theirs do "
            "not belong together: `--align end` counts them from the end, or make the texts equally long."
        )
    return shift


def as_cells(cells: Sequence[tuple[int, int, int]]) -> Cells:
    """Return (layer, position, feature) of each as an array, also of none."""
    return np.array(cells, dtype=np.int64).reshape(-1, 3)


def activations_at(base: BaseRun, cells: Cells, shift: int) -> Float[np.ndarray, " n"]:
    """Return the activations of some cells at positions that are `shift` later."""
    there = torch.from_numpy(cells + np.array([0, shift, 0]))
    return CellReader.of(base, there, raw=False).clean[0].double().cpu().numpy()


def value_of(logits: torch.Tensor, of: Pair | PairRuns) -> Float[np.ndarray, " B"]:
    """Return the logit of the answer less the rival's, in each row."""
    logits = logits.double()
    return (logits[:, of.answer] - logits[:, of.rival]).cpu().numpy()


def batch_of(base: BaseRun, sets: Sequence[tuple[Cells, Float[np.ndarray, " n"]]]) -> InterventionBatch:
    """Lay out rows of which each sets features to values."""
    features = [torch.from_numpy(cells) for cells, _ in sets]
    values = np.concatenate([values for _, values in sets])
    return InterventionBatch.setting(base, features, torch.from_numpy(values))


def source_columns(runs: PairRuns, i: int) -> Row:
    """Return the columns of a patch that name the feature of the circuit and give its activations."""
    layer, position, feature = runs.cells[i].tolist()
    return {
        "layer": layer,
        "position": position,
        "position_from_end": runs.base.n_positions - 1 - position,
        "feature": feature,
        "activation": float(runs.own[i]),
        "partner_activation": float(runs.partners[i]),
    }
