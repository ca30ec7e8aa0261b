"""One prompt to one graph: targets, rows, exploration."""

from pipeline.attribution.attribute import attribute
from pipeline.attribution.targets import Direction, FeatureTarget, TargetSpec

__all__ = ["Direction", "FeatureTarget", "TargetSpec", "attribute"]
