"""The patches of one pair: a prompt with features set to what they are on its partner.

Resample ablation sets the features of a circuit, those that pruning kept on either prompt, to their
activations at the same place of the partner; zero ablation beside it sets them to 0, and a third run sets
every feature that is active on either prompt: the most that features can carry.

The value is the logit of the prompt's answer less that of the partner's; its fall, over its difference
between the two clean runs, is the share that a patch recovers.

Legend: n features, B rows of interventions.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int

from pipeline.errors import PromptError
from pipeline.intervention import Mode
from pipeline.model import ReplacementModel
from pipeline.validation.pairs.config import PairTests
from pipeline.validation.pairs.paths import patch_paths, path_row
from pipeline.validation.pairs.runs import RUNS, Pair, PairRuns, Recovered, Row, source_columns


@dataclass(frozen=True)
class PairMeasured:
    """Rows that the runs of one pair give, without what names the prompts."""

    pair: Row
    effects: list[Row] = field(default_factory=list)


@torch.inference_mode()
def measure_pair(model: ReplacementModel, pair: Pair, config: PairTests) -> PairMeasured:
    """Patch a prompt with its partner's activations.

    Raises:
        PromptError: the two have the same answer, or positions that cannot be aligned.

    """
    started = time.perf_counter()
    if pair.answer == pair.rival:
        raise PromptError(
            "the answer is the partner's too, so there is no difference to recover: name each prompt's own "
            "in attribution.targets.column."
        )
    runs = PairRuns.of(model, pair, config)
    changed = np.flatnonzero(runs.own != runs.partners)
    most = changed[np.argsort(-runs.influence[changed], kind="stable")][: config.features]
    found = {run: _features(runs, mode, most) for run, mode in RUNS.items()}
    paths = patch_paths(runs, pair.edges, config.paths)
    stake = runs.clean - runs.partner_clean
    recovered = Recovered(stake)
    columns: Row = {}
    for run, (circuit, zero, everything, *_) in found.items():
        columns[f"{run}_recovered"] = recovered(runs.clean - circuit)
        columns[f"{run}_zero_recovered"] = recovered(runs.clean - zero)
        columns[f"{run}_all_recovered"] = recovered(runs.clean - everything)
    rows = [_feature_row(runs, i, number, found, len(most), recovered) for number, i in enumerate(most)]
    rows += [path_row(runs, path, number, recovered) for number, path in enumerate(paths)]
    return PairMeasured(
        pair={
            "answer": pair.answer,
            "rival": pair.rival,
            "value": runs.clean,
            "partner_value": runs.partner_clean,
            "stake": stake,
            "is_at_stake": recovered.is_at_stake,
            "features": len(runs.cells),
            "changed": len(changed),
            "unaligned": runs.unaligned,
            **columns,
            "interventions": sum(map(len, found.values())) + 3 * len(paths),
            "seconds": time.perf_counter() - started,
        },
        effects=rows,
    )


def _features(runs: PairRuns, mode: Mode, most: Int[np.ndarray, " m"]) -> Float[np.ndarray, " B"]:
    """Return the values of the circuit's runs, then of single features resampled, then of them at 0."""
    cells, nothing = runs.cells, np.zeros(len(runs.cells))
    return runs.run(
        mode,
        [
            (cells, runs.partners),
            (cells, nothing),
            (runs.everything, runs.everything_partners),
            *((cells[i][None], runs.partners[i][None]) for i in most),
            *((cells[i][None], nothing[:1]) for i in most),
        ],
    )


def _feature_row(
    runs: PairRuns,
    i: int,
    number: int,
    found: dict[str, Float[np.ndarray, " B"]],
    n_most: int,
    recovered: Recovered,
) -> Row:
    row = {
        "patch": "feature",
        "number": number,
        **source_columns(runs, i),
        "influence": float(runs.influence[i]),
    }
    for run, values in found.items():
        fall, zero = runs.clean - values[3 + number], runs.clean - values[3 + n_most + number]
        row |= {
            f"{run}_effect": fall,
            f"{run}_recovered": recovered(fall),
            f"{run}_zero_recovered": recovered(zero),
        }
    return row
