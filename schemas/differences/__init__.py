"""The tables of a comparison: how two sweeps differ.

`circuit-sweep diff A B --output FOLDER` writes them. With the same dictionary features and edges are compared
one by one; with different ones, through a match of features (`diff_matches`).
"""

from schemas.differences.circuits import DIFF_CIRCUITS
from schemas.differences.columns import PROMPT, both
from schemas.differences.edges import DIFF_EDGES
from schemas.differences.features import DIFF_FEATURES
from schemas.differences.matches import DIFF_MATCHES
from schemas.differences.prompts import DIFF_PROMPTS

__all__ = ["DIFF_CIRCUITS", "DIFF_EDGES", "DIFF_FEATURES", "DIFF_MATCHES", "DIFF_PROMPTS", "PROMPT", "both"]
