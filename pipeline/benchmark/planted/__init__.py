"""Models whose circuits are known, because they were written by hand, and how well methods find these."""

from pipeline.benchmark.planted.checkpoint import PROMPTS, Truth, write_planted
from pipeline.benchmark.planted.recovery import METHODS, Recovery, recovered, report, trace

__all__ = [
    "METHODS",
    "PROMPTS",
    "Recovery",
    "Truth",
    "recovered",
    "report",
    "trace",
    "write_planted",
]
