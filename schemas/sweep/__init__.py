"""The tables of a sweep."""

from schemas.sweep.activations import ACTIVATIONS
from schemas.sweep.edges import EDGES
from schemas.sweep.failures import FAILURES
from schemas.sweep.graphs import GRAPHS
from schemas.sweep.head_loadings import HEAD_LOADINGS
from schemas.sweep.nodes import NODES
from schemas.sweep.qk import QK
from schemas.sweep.reconstruction import RECONSTRUCTION

__all__ = [
    "ACTIVATIONS",
    "EDGES",
    "FAILURES",
    "GRAPHS",
    "HEAD_LOADINGS",
    "NODES",
    "QK",
    "RECONSTRUCTION",
]
