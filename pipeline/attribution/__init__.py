"""One prompt to one graph: targets, rows, exploration."""

from pipeline.attribution.attribute import attribute
from pipeline.attribution.products import Precision, check_precision, tf32_products
from pipeline.attribution.row_blocks import (
    FEWEST_ROWS,
    POSITION_GROUPS,
    SMALLEST_GROUP,
    preferred_block_pairs,
)
from pipeline.attribution.targets import Direction, FeatureTarget, TargetSpec

__all__ = [
    "FEWEST_ROWS",
    "POSITION_GROUPS",
    "SMALLEST_GROUP",
    "Direction",
    "FeatureTarget",
    "Precision",
    "TargetSpec",
    "attribute",
    "check_precision",
    "preferred_block_pairs",
    "tf32_products",
]
