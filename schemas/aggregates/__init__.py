"""The tables computed from the graphs of many prompts."""

from schemas.aggregates.edge_stats import EDGE_STATS
from schemas.aggregates.enrichment import EDGE_ENRICHMENT, FEATURE_ENRICHMENT
from schemas.aggregates.feature_pairs import FEATURE_PAIRS
from schemas.aggregates.feature_stats import FEATURE_STATS
from schemas.aggregates.supernodes import SUPERNODES

__all__ = [
    "EDGE_ENRICHMENT",
    "EDGE_STATS",
    "FEATURE_ENRICHMENT",
    "FEATURE_PAIRS",
    "FEATURE_STATS",
    "SUPERNODES",
]
