"""The page's changes of features, read as interventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from pipeline.errors import InterventionError
from pipeline.features import FeatureName, parse_feature
from pipeline.intervention import (
    DEFAULT,
    OPEN,
    REPLACEMENT,
    CellReader,
    Intervention,
    InterventionBatch,
    Mode,
)
from pipeline.viewer.live.sweeps_model import SweepsModel

MODES: dict[str, Mode] = {"direct": DEFAULT, "full": OPEN, "replacement": REPLACEMENT}
"""Modes by the page's words."""

CHANGES = 256
"""Most changes of a run."""

Change = Mapping[str, Any]
"""`{node, kind, value}` with kind `scale` or `set`, or `{node, kind: take, from, at, token_ids}`."""


def resolved(model: SweepsModel, token_ids: Sequence[int], changes: Sequence[Change]) -> list[Change]:
    """Return changes that scale or set; what is taken from another prompt is read off its clean run.

    Raises:
        InterventionError: there are too many or none, or one cannot be read.

    """
    if not 1 <= len(changes) <= CHANGES:
        raise InterventionError(f"there are {len(changes)} changes: give 1 to {CHANGES}.")
    return [
        _taken(model, len(token_ids), change) if change.get("kind") == "take" else change
        for change in changes
    ]


def _taken(model: SweepsModel, positions: int, change: Change) -> Change:
    """Read the feature's activation on the other prompt: at its position, or the same one from the end."""
    name = parse_feature(str(change.get("node")), "required")
    other, at = change["token_ids"], change.get("at")
    here = name.position + positions if name.position < 0 else name.position
    there = len(other) - (positions - here) if at is None else at
    if not isinstance(there, int) or not 0 <= there < len(other):
        raise InterventionError(
            f"change of {name}: prompt {change.get('from')!r:.80} has positions 0 to {len(other) - 1} and "
            f"none that is {there!r:.20}: choose one of them."
        )
    base = model.base(other)
    wanted = Intervention(name.layer, there, name.feature, value=0.0)
    cell = InterventionBatch.of(base, [[wanted]]).features  # refuses what does not exist, by name
    value = CellReader.of(base, cell, raw=False).clean[0, 0]
    shown = {"source": f"{FeatureName(name.layer, name.feature, there)} of {change.get('from')}"}
    return {"node": str(name), "kind": "set", "value": float(value), **shown}


def intervention(change: Change, strength: float = 1.0) -> Intervention:
    """Read a change that scales or sets, a set value times `strength`.

    Raises:
        InterventionError: it is neither.

    """
    name, kind, value = parse_feature(str(change.get("node"))), change.get("kind"), change.get("value")
    if kind not in ("scale", "set") or not isinstance(value, int | float) or isinstance(value, bool):
        raise InterventionError(
            f"change {dict(change)!r:.200} must have a kind, scale or set, and a number as value."
        )
    position = "all" if name.position is None else name.position
    if kind == "set":
        return Intervention(name.layer, position, name.feature, value=float(value) * strength)
    return Intervention(name.layer, position, name.feature, factor=float(value))


def dosed(change: Change, strength: float) -> Intervention:
    """Read a change at a strength: a value is that many times itself, a factor is the strength."""
    return intervention({**change, "value": strength} if change.get("kind") == "scale" else change, strength)


def mode_of(word: str) -> Mode:
    """Return the mode of a word.

    Raises:
        InterventionError: there is none.

    """
    if word not in MODES:
        raise InterventionError(f"mode {word[:40]!r} is none of {', '.join(MODES)}.")
    return MODES[word]


def centred(logits: Float[Tensor, "*B V"]) -> Float[Tensor, "*B V"]:
    """Return logits less the mean over the vocabulary, as graphs explain them."""
    return logits.float() - logits.float().mean(-1, keepdim=True)
