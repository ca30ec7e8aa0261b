"""The tables of circuits that are found over many prompts."""

from schemas.circuits.circuits import CIRCUITS
from schemas.circuits.edges import CIRCUIT_EDGES
from schemas.circuits.effects import CIRCUIT_EFFECTS
from schemas.circuits.nodes import CIRCUIT_NODES
from schemas.circuits.support import CIRCUIT_SUPPORT
from schemas.circuits.tests import CIRCUIT_TESTS

__all__ = [
    "CIRCUITS",
    "CIRCUIT_EDGES",
    "CIRCUIT_EFFECTS",
    "CIRCUIT_NODES",
    "CIRCUIT_SUPPORT",
    "CIRCUIT_TESTS",
]
