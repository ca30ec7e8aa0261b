"""Graphs for other tools: attribution-graph and feature JSON for viewers, GraphML and NetworkX."""

from pipeline.export.export import Exported, FeatureDetail, export
from pipeline.export.graph_json import graph_document
from pipeline.export.networks import to_networkx

__all__ = ["Exported", "FeatureDetail", "export", "graph_document", "to_networkx"]
