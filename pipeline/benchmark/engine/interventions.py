"""Time single-feature ablations on the medium model: one call each, and batched.

A call on its own runs the prompt clean first, then once more under the change, and returns all logits
and activations. A batch shares the clean run, leaves out layers below and positions before its
changes, and returns the logits of the last position. "Shared" separates the two: rows one by one, but
on a stored clean run and with the same leaving out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import Int
from torch import Tensor

from pipeline.benchmark.engine.shapes import build, prompt
from pipeline.benchmark.report import Report, Settings
from pipeline.intervention import BaseRun, Intervention, InterventionBatch, intervene, intervene_many

TOKENS = 16
ROWS = 512
"""Ablations in the batch, drawn from the prompt's active features."""

SAMPLED = 24
"""Of these, how many are timed one by one."""


@dataclass(frozen=True)
class Rates:
    """Interventions a second, medians over the repeats."""

    alone: float
    """One call of `intervene` each."""

    shared: float
    """One row a pass, on one clean run."""

    batched: float
    """As many rows a pass as the memory planner allows, clean run counted."""


def report(settings: Settings) -> Report:
    """Time ablations each way on the medium model."""
    rates = measure(settings)
    rows = tuple(
        (name, f"{rate:,.1f}", f"{rates.batched / rate:.1f}x")
        for name, rate in (("alone", rates.alone), ("shared", rates.shared), ("batched", rates.batched))
    )
    return Report(("", "a second", "batched is"), rows, f"Ablations of one feature, {TOKENS} tokens.")


def measure(settings: Settings) -> Rates:
    """Build the medium model and time ablations each way, after one run that is not counted."""
    repeats = settings.repeats
    model = build("medium", settings.device)
    tokens = prompt(TOKENS)
    base = BaseRun.of(model, [tokens])
    features = _active_features(base)
    few = features[:SAMPLED]

    def alone() -> None:
        for layer, position, index in few.tolist():
            intervene(model, tokens, [Intervention(layer, position, index, 0.0)])

    def shared() -> None:
        intervene_many(
            base, InterventionBatch.ablating(base, [feature[None] for feature in few]), rows_per_pass=1
        )

    def batched() -> None:
        fresh = BaseRun.of(model, [tokens])
        intervene_many(fresh, InterventionBatch.ablating(fresh, [feature[None] for feature in features]))

    return Rates(
        alone=_rate(alone, len(few), repeats),
        shared=_rate(shared, len(few), repeats),
        batched=_rate(batched, len(features), repeats),
    )


def _active_features(base: BaseRun) -> Int[Tensor, "n 3"]:
    """Draw features to ablate from those that are active on the prompt."""
    active = base.model.freeze(base.input_tokens[0]).active_features().cpu()
    order = torch.randperm(len(active), generator=torch.Generator().manual_seed(0))
    return active[order[:ROWS]]


def _rate(run: Callable[[], None], count: int, repeats: int) -> float:
    run()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return count / median(seconds)
