"""What the model's process answers of one feature: tokens that it promotes, its ablation on many prompts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pipeline.errors import InterventionError
from pipeline.export import promoted_tokens
from pipeline.features import FeatureName
from pipeline.intervention import BaseRun, Intervention, InterventionBatch, intervene_many
from pipeline.token_labels import printable_token
from pipeline.viewer.live.changes import centred, mode_of
from pipeline.viewer.live.sweeps_model import SweepsModel

PROMPTS = 200
"""Most prompts of an ablation."""

AT_ONCE = 16
"""Prompts whose clean runs are held at a time."""


def promoted(model: SweepsModel, layer: int, feature: int) -> dict[str, Any]:
    """Return the tokens whose logits a feature raises and lowers most by writing straight into the end."""
    promotes, suppresses = promoted_tokens(model.model, FeatureName(layer, feature))
    return {
        "promotes": [printable_token(token) for token in promotes],
        "suppresses": [printable_token(token) for token in suppresses],
    }


def ablate(
    model: SweepsModel, layer: int, feature: int, prompts: Sequence[Mapping[str, Any]], mode: str = "direct"
) -> dict[str, Any]:
    """Ablate a feature at all positions of each of several prompts, and a random one of its layer beside it.

    Args:
        model: the model.
        layer: of the feature.
        feature: its index.
        prompts: `{id, token_ids, target}` each; effects are on the target's logit less the mean of all.
        mode: a word of `MODES`.

    """
    if not 1 <= len(prompts) <= PROMPTS:
        raise InterventionError(f"there are {len(prompts)} prompts: give 1 to {PROMPTS}.")
    rows = [
        row
        for start in range(0, len(prompts), AT_ONCE)
        for row in _ablated(model, FeatureName(layer, feature), prompts[start : start + AT_ONCE], mode)
    ]
    return {
        "rows": rows,
        "median": _spread([row["effect"] for row in rows]),
        "random": _spread([row["random"] for row in rows if row["random"] is not None]),
    }


def _ablated(
    model: SweepsModel, name: FeatureName, prompts: Sequence[Mapping[str, Any]], mode: str
) -> list[dict[str, Any]]:
    base = BaseRun.of(model.model, [torch.tensor(prompt["token_ids"]) for prompt in prompts])
    others = [_another(base, name, number, prompt["id"]) for number, prompt in enumerate(prompts)]
    chosen = [(number, name.feature) for number in range(len(prompts))]
    chosen += [(number, other) for number, other in enumerate(others) if other is not None]
    changes = [[Intervention(name.layer, "all", feature, value=0.0)] for _, feature in chosen]
    of_row = [number for number, _ in chosen]
    logits = intervene_many(base, InterventionBatch.of(base, changes, of_row), mode_of(mode)).logits
    clean = base.logits[of_row]
    at = torch.arange(len(of_row)), torch.tensor([prompts[number]["target"] for number in of_row])
    moved = (centred(logits) - centred(clean))[at].tolist()
    before, after = (rows.float().softmax(-1)[at].tolist() for rows in (clean, logits))
    random_effect = {of_row[row]: moved[row] for row in range(len(prompts), len(chosen))}
    return [
        {
            "id": prompt["id"],
            "target": model.label(prompt["target"]),
            "before": before[number],
            "after": after[number],
            "effect": moved[number],
            "random": random_effect.get(number),
        }
        for number, prompt in enumerate(prompts)
    ]


def _another(base: BaseRun, name: FeatureName, prompt: int, id: str) -> int | None:
    """Return another feature of the same layer that is active on a prompt, by lot; the same one each time."""
    cells = base.active[name.layer]
    active = sorted({*cells[cells[:, 0] == prompt, 2].tolist()} - {name.feature})
    return random.Random(f"{name} {id}").choice(active) if active else None


def _spread(effects: Sequence[float]) -> dict[str, float] | None:
    """Return the median of effects, and their quartiles."""
    if not effects:
        return None
    low, middle, high = np.quantile(effects, (0.25, 0.5, 0.75)).tolist()
    return {"low": low, "middle": middle, "high": high}
