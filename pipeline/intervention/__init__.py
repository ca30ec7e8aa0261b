"""Interventions: set features to other values, one or many at once, and generate under them."""

from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.batch import BatchOutcome, CellReader, intervene_many, run_passes
from pipeline.intervention.generate import Continuation, generate
from pipeline.intervention.intervene import Outcome, intervene
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.intervention_batch import InterventionBatch
from pipeline.intervention.mode import DEFAULT, OPEN, REPLACEMENT, Mode, constrained
from pipeline.intervention.steering import Steered, parse_intervention, steer

__all__ = [
    "DEFAULT",
    "OPEN",
    "REPLACEMENT",
    "BaseRun",
    "BatchOutcome",
    "CellReader",
    "Continuation",
    "Intervention",
    "InterventionBatch",
    "Mode",
    "Outcome",
    "Steered",
    "constrained",
    "generate",
    "intervene",
    "intervene_many",
    "parse_intervention",
    "run_passes",
    "steer",
]
