"""Run a hypothesis: every prompt under its changes, in as few passes as fit.

What is measured of each prompt is its `value`: the answer's logit less that of the partner or the runner-up
(or what else its graph explains). The effect of a change is by how much it falls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.errors import ConfigurationError, TargetError
from pipeline.intervention import BaseRun, InterventionBatch, Mode, run_passes
from pipeline.model import ReplacementModel, TracedTokens, token_id
from pipeline.validation.faithfulness import ExplainedTarget, OutputMetrics, write_norms
from pipeline.validation.hypotheses.changes import DRAWN, Alive, Changes, PromptChanges
from pipeline.validation.hypotheses.question import Asked, Hypothesis, Named

FACTORS = (0.0, 0.5, 1.5, 2.0)
"""Doses of features that are multiplied; 1 is the clean run."""

STRENGTHS = (0.5, 1.0, 1.5, 2.0)
"""Doses of features that are set to values: multiples of these."""


@dataclass(frozen=True)
class PromptOutcome:
    """One prompt under all changes."""

    prompt: Asked
    features: int
    """Chosen features that were changed."""

    answer: int
    rival: int | None
    value: float
    """Of the clean run."""

    prediction: int
    """Likeliest token of the clean run."""

    effects: dict[str, Float[np.ndarray, " draws"]]
    """Fall of the value by kind of set: `chosen`, `largest`, and one a draw of the others."""

    predictions: dict[str, Int[np.ndarray, " draws"]]
    """Likeliest token under each of these."""

    doses: dict[float, float]
    """Fall of the value by dose of the chosen features."""

    size_ratios: dict[str, float]
    """Summed write norm of the drawn sets over that of the chosen one, mean of the draws, by kind."""


def run_hypothesis(
    model: ReplacementModel, hypothesis: Hypothesis, mode: Mode, draws: int, seed: int = 0
) -> Iterator[PromptOutcome | None]:
    """Yield the outcome of each prompt; None where none of the chosen features is active.

    Args:
        model: the model of the sweep.
        hypothesis: what is changed, on which prompts.
        mode: what is frozen.
        draws: random sets of each kind.
        seed: of the draws.

    Raises:
        ConfigurationError: an answer is no token of the model.
        InterventionError: a layer, position or feature does not exist.

    """
    norms = partial(write_norms, model)
    alive = _alive(model, hypothesis)
    for prompt in hypothesis.prompts:
        changes = PromptChanges(hypothesis, prompt, norms, alive, _put_in_elsewhere(hypothesis, prompt), seed)
        yield _outcome(model, prompt, changes, mode, draws) if changes.is_there else None


def _outcome(
    model: ReplacementModel, prompt: Asked, changes: PromptChanges, mode: Mode, draws: int
) -> PromptOutcome:
    base = BaseRun.of(model, [TracedTokens(prompt.token_ids)])
    metrics = _metrics(model, base, prompt)
    strengths = STRENGTHS if changes.put_in else FACTORS
    drawn = {kind: [changes.drawn(kind, draw) for draw in range(draws)] for kind in DRAWN}
    sets = {
        "chosen": [changes.chosen()],
        "largest": [changes.drawn("largest", 0)[0]],
        **{kind: [change for change, _ in of_kind] for kind, of_kind in drawn.items()},
        "dose": [changes.dose(strength) for strength in strengths],
    }
    if changes.others:
        sets["mixed"] = [changes.mixed(draw) for draw in range(draws)]
    values, predictions = run_changes(
        base, metrics, [one for of_kind in sets.values() for one in of_kind], mode
    )
    clean = float(metrics.observe_clean()[3])
    ends = np.cumsum([len(of_kind) for of_kind in sets.values()])[:-1]
    effects = dict(zip(sets, np.split(clean - values, ends), strict=True))
    of_kinds = dict(zip(sets, np.split(predictions, ends), strict=True))
    doses = dict(zip(strengths, effects.pop("dose").tolist(), strict=True))
    del of_kinds["dose"]
    return PromptOutcome(
        prompt,
        len(changes.own),
        metrics.answer,
        metrics.rival,
        clean,
        int(metrics.clean.argmax()),
        effects,
        of_kinds,
        doses,
        {kind: float(np.mean([ratio for _, ratio in of_kind])) for kind, of_kind in drawn.items()},
    )


def run_changes(
    base: BaseRun, metrics: OutputMetrics, sets: list[Changes], mode: Mode
) -> tuple[Float[np.ndarray, " B"], Int[np.ndarray, " B"]]:
    """Return each row's value and likeliest token."""
    counts = torch.tensor([len(one.features) for one in sets])
    device = base.model.device
    batch = InterventionBatch(
        prompt_of_row=torch.zeros(len(sets), dtype=torch.long, device=device),
        rows=torch.repeat_interleave(torch.arange(len(sets)), counts).to(device),
        features=torch.from_numpy(np.concatenate([one.features for one in sets])).to(device),
        amounts=torch.from_numpy(np.concatenate([one.amounts for one in sets])).to(device, base.dtype),
        is_factor=torch.from_numpy(np.concatenate([one.is_factor for one in sets])).to(device),
        without_errors=torch.zeros(len(sets), dtype=torch.bool, device=device),
    )
    values, predictions = np.zeros(len(sets)), np.zeros(len(sets), int)
    for outcome in run_passes(base, batch, mode, metrics.cells, preactivations=True):
        rows = outcome.rows.cpu().numpy()
        values[rows] = metrics.observe(outcome.logits, outcome.activations)[:, 3].cpu().numpy()
        predictions[rows] = outcome.logits.argmax(1).cpu().numpy()
    return values, predictions


def _metrics(model: ReplacementModel, base: BaseRun, prompt: Asked) -> OutputMetrics:
    """Measure the answer's logit less the partner's, or what the graph explains where none is given."""
    logits, target = base.logits[0], prompt.target
    if prompt.answer is not None:
        target = ExplainedTarget("token", 1.0, {_token(model, logits, prompt, "answer"): 1.0})
    partner = None if prompt.partner is None else _token(model, logits, prompt, "partner")
    if partner is not None and target.kind != "token":
        raise ConfigurationError(
            f"--prompts: {prompt.id!r} has a partner, but its graph explains a {target.kind}: give its "
            "answer too."
        )
    return OutputMetrics.of(base, (target,), partner)


def _token(model: ReplacementModel, logits: Float[Tensor, " V"], prompt: Asked, column: str) -> int:
    """Return the token of an answer, with or without a space in front: the likelier one."""
    text = getattr(prompt, column)
    found = []
    for written in dict.fromkeys((text, f" {text}", text.strip())):
        try:
            found.append(token_id(model.tokenizer, written, model.vocabulary_size))
        except TargetError:
            continue
    if not found:
        raise ConfigurationError(
            f"--prompts: the {column} {text!r} of {prompt.id!r} is not one token of the model."
        )
    return max(found, key=lambda token: float(logits[token]))


def _put_in_elsewhere(hypothesis: Hypothesis, prompt: Asked) -> dict[int, tuple[Named, ...]]:
    found: dict[int, dict[int, Named]] = {}
    if hypothesis.put_in is not None:
        for key, items in sorted(hypothesis.put_in.by_prompt.items()):
            if key != prompt.key:
                for item in items:
                    found.setdefault(item.layer, {}).setdefault(item.feature, item)
    return {layer: tuple(items.values()) for layer, items in found.items()}


def _alive(model: ReplacementModel, hypothesis: Hypothesis) -> dict[int, Alive]:
    """Return what is active on the tested prompts, by layer, where features are put in."""
    if hypothesis.put_in is None and hypothesis.value is None:
        return {}
    cells = np.concatenate([prompt.active for prompt in hypothesis.prompts])
    sizes = write_norms(model, cells, np.concatenate([prompt.activations for prompt in hypothesis.prompts]))
    found = {}
    for layer in np.unique(cells[:, 0]).tolist():
        here = cells[:, 0] == layer
        features, number = np.unique(cells[here, 2], return_inverse=True)
        largest = np.zeros(len(features))
        np.maximum.at(largest, number, sizes[here])
        named = np.stack([np.full(len(features), layer), np.zeros(len(features), int), features], axis=1)
        found[layer] = Alive(features, write_norms(model, named, np.ones(len(features))), largest)
    return found
