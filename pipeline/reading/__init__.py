"""Reading graphs back from the tables: one prompt's graph, and the paths that matter in it."""

from pipeline.reading.paths import Path, strongest_paths
from pipeline.reading.stored_graph import StoredGraph, graph_of, read_graph

__all__ = ["Path", "StoredGraph", "graph_of", "read_graph", "strongest_paths"]
