"""The tables of a sweep's validation."""

from schemas.validation.faithfulness import FAITHFULNESS
from schemas.validation.pairs import PAIR_EFFECTS, PAIRS
from schemas.validation.validations import VALIDATIONS

__all__ = [
    "FAITHFULNESS",
    "PAIRS",
    "PAIR_EFFECTS",
    "VALIDATIONS",
]
