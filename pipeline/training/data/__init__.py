"""Text to tokens to the rows that dictionaries are trained on, in an order that a seed decides."""

from pipeline.training.data.activations import (
    ActivationReader,
    LayerRows,
    Pass,
    Rows,
    TrainingRows,
    padded_passes,
)
from pipeline.training.data.documents import prepare_tokens
from pipeline.training.data.order import TrainingOrder
from pipeline.training.data.tokens import (
    CALIBRATION,
    REPORT,
    TokenSet,
    TokenWriter,
    TrainingTokens,
    is_held_out,
)

__all__ = [
    "CALIBRATION",
    "REPORT",
    "ActivationReader",
    "LayerRows",
    "Pass",
    "Rows",
    "TokenSet",
    "TokenWriter",
    "TrainingOrder",
    "TrainingRows",
    "TrainingTokens",
    "is_held_out",
    "padded_passes",
    "prepare_tokens",
]
