"""The points of a model at which transcoders read and write, in the names of their configurations.

TransformerLens' names come with a layer (`blocks.3.ln2.hook_normalized`) or without, Hugging Face's are
modules' inputs and outputs (`model.layers.3.pre_feedforward_layernorm.output`). A configuration that says a
point twice must say the same point: which one is right cannot be seen from the weights, and the other one
gives other numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import TranscoderError
from pipeline.untrusted import cut

HookPoint = Literal["hook_resid_mid", "mlp.hook_in", "ln2.hook_normalized", "mlp.hook_out", "hook_mlp_out"]

READS: tuple[HookPoint, ...] = ("hook_resid_mid", "mlp.hook_in", "ln2.hook_normalized")
"""Points at which features read."""

WRITES: tuple[HookPoint, ...] = ("mlp.hook_out", "hook_mlp_out")
"""Points to which they write."""

NO_AUTOENCODER = (
    "an autoencoder of activations cannot stand in for an MLP: a graph needs transcoders, which read what "
    "the MLP reads and give what it gives"
)
"""Why a dictionary of another kind is refused."""

_OTHER_NAMES: dict[Literal["read", "write"], dict[str, HookPoint]] = {
    "read": {
        "hook_mlp_in": "hook_resid_mid",  # TransformerLens' copy of the residual stream, before the norm
        "pre_feedforward_layernorm.output": "mlp.hook_in",
        "mlp.input": "mlp.hook_in",
        "ln_2.output": "mlp.hook_in",
        "ln_2.input": "hook_resid_mid",
        # `post_attention_layernorm` is before the MLP in Llama and after the attention in Gemma: not guessed.
    },
    "write": {
        "mlp.output": "mlp.hook_out",
        "post_feedforward_layernorm.output": "hook_mlp_out",
    },
}

_IN_LAYER = re.compile(r"^(?:blocks|(?:\w+\.)*(?:layers|h))\.(\d+|\{\})\.(.+)$")
"""A name with its layer: the number (or a template's `{}`) and the point within the layer."""


@dataclass(frozen=True)
class NamedPoint:
    """A hook point as a configuration names it."""

    point: HookPoint
    layer: int | None
    """Number of the layer in the name, if there is one."""

    said: str
    """Key and value, for messages."""


@dataclass(frozen=True)
class Points:
    """What one layer's files say of where it reads and writes; None where they say nothing."""

    reads: HookPoint | None = None
    writes: HookPoint | None = None


def named_point(value: Any, side: Literal["read", "write"], path: Path, key: str) -> NamedPoint:
    """Read a hook point that a configuration names.

    Args:
        value: the name, in TransformerLens' or Hugging Face's words, with a layer or without.
        side: what happens there.
        path: the configuration's, for messages.
        key: under which the name stands there.

    Raises:
        TranscoderError: it is missing, or names no point at which transcoders can do that.

    """
    known = READS if side == "read" else WRITES
    found = _IN_LAYER.match(str(value))
    point = found[2] if found else str(value)
    if point not in known and point not in _OTHER_NAMES[side]:
        said = f"{key} is missing" if value is None else f"{key} is {cut(value)}"
        raise TranscoderError(
            f"{path}: {said}; transcoders {side} at {', '.join(known)}. If it was trained elsewhere, "
            f"{NO_AUTOENCODER}."
        )
    layer = int(found[1]) if found and found[1].isdigit() else None
    return NamedPoint(_OTHER_NAMES[side].get(point, point), layer, f"{key}: {str(value)[:80]}")


def hook_point(value: Any, side: Literal["read", "write"], path: Path, key: str) -> HookPoint:
    """Return the hook point that a whole set's configuration names.

    Raises:
        TranscoderError: see `named_point`.

    """
    return named_point(value, side, path, key).point


def agreed(named: list[NamedPoint], path: Path) -> HookPoint | None:
    """Return the one point that some names mean, or None where there is no name.

    Raises:
        TranscoderError: they mean different ones.

    """
    if len({name.point for name in named}) > 1:
        both = " and ".join(f"{name.said} (which is {name.point})" for name in named)
        raise TranscoderError(
            f"{path} says {both}: these are different points, and a dictionary read at the wrong one gives "
            "other numbers. Find out at which it was trained, and correct the other."
        )
    return named[0].point if named else None


def check_layers(named: list[NamedPoint], layer: int, path: Path) -> None:
    """Refuse names of points in another layer than the file is taken for.

    Raises:
        TranscoderError: with the name and the number.

    """
    for name in named:
        if name.layer not in (None, layer):
            raise TranscoderError(
                f"{path} says {name.said}, but by its place among the files this is layer {layer}: one of "
                "the two is wrong."
            )
