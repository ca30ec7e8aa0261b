"""Reading graphs back from the tables: one prompt's graph, and the paths that matter in it."""

from pipeline.reading.paths import Path, strongest_paths
from pipeline.reading.stored_graph import StoredGraph, read_graph

__all__ = ["Path", "StoredGraph", "read_graph", "strongest_paths"]
