"""Prompts in pairs: what of the difference between two prompts goes through which features and paths."""

from pipeline.validation.pairs.measure import PairMeasured, measure_pair
from pipeline.validation.pairs.runs import Edge, Pair

__all__ = ["Edge", "Pair", "PairMeasured", "measure_pair"]
