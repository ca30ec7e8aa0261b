"""One prompt to one graph: targets, rows, exploration."""

from pipeline.attribution.attribute import attribute
from pipeline.attribution.targets import Direction, TargetSpec

__all__ = ["Direction", "TargetSpec", "attribute"]
