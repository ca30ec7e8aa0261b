"""The test of one graph's circuit by interventions in the model; knows no file and no other graph."""

from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.faithfulness.explained_target import ExplainedTarget
from pipeline.validation.faithfulness.graph_validation import GraphValidation, validate_graph

__all__ = [
    "Circuit",
    "ExplainedTarget",
    "GraphValidation",
    "validate_graph",
]
