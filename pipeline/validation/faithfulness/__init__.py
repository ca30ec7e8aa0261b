"""The test of one graph's circuit by interventions in the model; knows no file and no other graph."""

from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.faithfulness.effects import OutputMetrics
from pipeline.validation.faithfulness.explained_target import ExplainedTarget
from pipeline.validation.faithfulness.graph_validation import GraphValidation, validate_graph
from pipeline.validation.faithfulness.sampling import fill
from pipeline.validation.faithfulness.simple_rankings import write_norms
from pipeline.validation.faithfulness.traced_circuit import circuit_of

__all__ = [
    "Circuit",
    "ExplainedTarget",
    "GraphValidation",
    "OutputMetrics",
    "circuit_of",
    "fill",
    "validate_graph",
    "write_norms",
]
