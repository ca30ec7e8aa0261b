"""Circuit Sweep: attribution graphs of language models, one prompt or a million.

    from pipeline import ReplacementModel, attribute, prune

    model = ReplacementModel.from_pretrained("demo", transcoders="demo")
    graph = attribute(model, "The capital of the state containing Dallas is")
    pruned = prune(graph, node_threshold=0.8, edge_threshold=0.98)

Imports happen on first use, so that a command that only prints help does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.attribution import AttributionOptions, FeatureTarget, attribute
    from pipeline.face import ReplacementModel
    from pipeline.graph import AttributionGraph, PrunedGraph, prune
    from pipeline.intervention import Intervention, generate, intervene
    from pipeline.results import Results

_HOMES = {
    "AttributionGraph": "pipeline.graph",
    "AttributionOptions": "pipeline.attribution",
    "FeatureTarget": "pipeline.attribution",
    "Intervention": "pipeline.intervention",
    "PrunedGraph": "pipeline.graph",
    "ReplacementModel": "pipeline.face",
    "Results": "pipeline.results",
    "attribute": "pipeline.attribution",
    "generate": "pipeline.intervention",
    "intervene": "pipeline.intervention",
    "prune": "pipeline.graph",
}

__all__ = [
    "AttributionGraph",
    "AttributionOptions",
    "FeatureTarget",
    "Intervention",
    "PrunedGraph",
    "ReplacementModel",
    "Results",
    "attribute",
    "generate",
    "intervene",
    "prune",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its room when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
