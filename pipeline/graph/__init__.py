"""The graph itself: influence, pruning, scores. Tensors in, tensors out."""

from pipeline.graph.attribution_graph import (
    AttributionGraph,
    NodeKind,
    Prediction,
    PrunedGraph,
    Reconstruction,
    Target,
)
from pipeline.graph.drawn import picture_of
from pipeline.graph.edge_blocks import TOKEN_LAYER, EdgeBlock, EdgeBlocks, SourceIndex
from pipeline.graph.influence import influence, scores
from pipeline.graph.loadings import EdgePath, HeadLoadings
from pipeline.graph.pruning import prune
from pipeline.graph.qk import Component, QKAttribution, ScorePart
from pipeline.graph.small_circuit import SmallCircuit, small_circuit
from pipeline.graph.stability import Stability, stability
from pipeline.graph.subgraph import subgraph_scores

__all__ = [
    "TOKEN_LAYER",
    "AttributionGraph",
    "Component",
    "EdgeBlock",
    "EdgeBlocks",
    "EdgePath",
    "HeadLoadings",
    "NodeKind",
    "Prediction",
    "PrunedGraph",
    "QKAttribution",
    "Reconstruction",
    "ScorePart",
    "SmallCircuit",
    "SourceIndex",
    "Stability",
    "Target",
    "influence",
    "picture_of",
    "prune",
    "scores",
    "small_circuit",
    "stability",
    "subgraph_scores",
]
