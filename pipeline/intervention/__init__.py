"""What happens when features are set to other values: one change or many at once, and generation."""

from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.batch import BatchOutcome, intervene_many
from pipeline.intervention.changes import Changes
from pipeline.intervention.generate import Continuation, generate
from pipeline.intervention.intervene import Outcome, intervene
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.mode import DEFAULT, OPEN, Mode, constrained

__all__ = [
    "DEFAULT",
    "OPEN",
    "BaseRun",
    "BatchOutcome",
    "Changes",
    "Continuation",
    "Intervention",
    "Mode",
    "Outcome",
    "constrained",
    "generate",
    "intervene",
    "intervene_many",
]
