"""Features named with the labels that a sweep's notes give them, in every report alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.features import FeatureName

if TYPE_CHECKING:
    from pipeline.store import FeatureLabel

LONGEST = 60
"""Characters of a label that a report shows."""

Labels = Mapping[str, "FeatureLabel"]
"""Labels by the spelling of a feature or node."""


def label_text(labels: Labels, name: FeatureName) -> str:
    """Return the label of a feature, that of the node going before; empty where it has none."""
    label = labels.get(str(name)) or labels.get(f"{name.layer}/{name.feature}")
    if label is None:
        return ""
    text = " ".join(str(label).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def labelled(labels: Labels, name: FeatureName) -> str:
    """Return a feature's name with its label behind it."""
    text = label_text(labels, name)
    return f"{name} {text}" if text else str(name)
