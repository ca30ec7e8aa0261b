"""Does a sweep's every circuit hold? Interventions in the model itself, and the verdict beside the graph."""

from pipeline.validation.circuit import Circuit
from pipeline.validation.config import ValidationConfig
from pipeline.validation.output import ValidationOutput
from pipeline.validation.verdict import Verdict, judge

__all__ = ["Circuit", "ValidationConfig", "ValidationOutput", "Verdict", "judge"]
