"""The tables of a sweep's validation."""

from schemas.validation.faithfulness import FAITHFULNESS
from schemas.validation.validations import VALIDATIONS

__all__ = [
    "FAITHFULNESS",
    "VALIDATIONS",
]
