"""The test of one graph's circuit by interventions in the model; knows no file and no other graph."""

from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.faithfulness.graph_validation import GraphValidation, validate_graph

__all__ = [
    "Circuit",
    "GraphValidation",
    "validate_graph",
]
