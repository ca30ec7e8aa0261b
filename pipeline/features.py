"""A feature's name, the same wherever one is read or written: `2/350`, and `2/350@8` at a position.

That is layer, index in the layer's dictionary, and position in the prompt, of which negative ones count from
the end. A sweep file, every command and every report use this spelling and no other.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from pipeline.errors import ConfigurationError

_SPELLING = re.compile(r"(?P<layer>\d{1,19})/(?P<feature>\d{1,19})(@(?P<position>-?\d{1,19}))?", re.ASCII)

_WITH_COLON = re.compile(r"(\d+):(\d+)(@-?\d+)?", re.ASCII)
"""Feature names as `steer` of version 0.1 wrote them."""


class FeatureName(NamedTuple):
    """A feature, at one position or wherever it is active."""

    layer: int

    feature: int
    """Index in the layer's dictionary."""

    position: int | None = None
    """Position in the prompt, negative ones counted from the end; None for all."""

    def __str__(self) -> str:
        name = f"{self.layer}/{self.feature}"
        return name if self.position is None else f"{name}@{self.position}"


def parse_feature(
    text: str, position: Literal["optional", "required", "refused"] = "optional"
) -> FeatureName:
    """Read a feature's name.

    Args:
        text: `layer/feature` or `layer/feature@position`.
        position: says if the name must, may or must not hold a position.

    Raises:
        ConfigurationError: it is spelt otherwise, or lacks a position or has one too many.

    """
    if not (match := _SPELLING.fullmatch(text)):
        raise ConfigurationError(f"feature {text!r}: {_right_spelling(text, position)}.")
    layer, feature = int(match["layer"]), int(match["feature"])
    if match["position"] is None:
        if position == "required":
            raise ConfigurationError(
                f"feature {text!r} has no position, which is needed here: write {text}@8, or {text}@-1 for "
                "the last one."
            )
        return FeatureName(layer, feature)
    if position == "refused":
        raise ConfigurationError(
            f"feature {text!r} has a position, which means nothing here: write {layer}/{feature}."
        )
    return FeatureName(layer, feature, int(match["position"]))


def _right_spelling(text: str, position: str) -> str:
    if old := _WITH_COLON.fullmatch(text):
        return f"a slash separates layer and index now, so write {old[1]}/{old[2]}{old[3] or ''}"
    if position == "refused":
        return "give its layer and index, such as 2/350"
    if position == "required":
        return "give its layer, index and position, such as 2/350@8"
    return "give its layer and index, such as 2/350, and for one position 2/350@8"
