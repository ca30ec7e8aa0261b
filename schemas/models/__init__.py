"""What `compare` finds between two models."""

from schemas.models.edges import COMPARE_EDGES
from schemas.models.families import COMPARE_FAMILIES
from schemas.models.features import COMPARE_FEATURES
from schemas.models.prompts import COMPARE_PROMPTS

MODEL_TABLES = {
    table.name: table for table in (COMPARE_FAMILIES, COMPARE_PROMPTS, COMPARE_FEATURES, COMPARE_EDGES)
}

__all__ = ["MODEL_TABLES"]
