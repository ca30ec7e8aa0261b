"""Aggregates of a sweep: tables computed from all its graphs, and kept beside them.

result = run_aggregate("runs/demo", GroupStatistics(Grouping("family")))  # of stats
result = run_aggregate("runs/demo", Coactivation(min_support=10))         # of coactivation
result = run_aggregate("runs/demo", Supernodes(Grouping("family")))       # of supernodes
result.dataset("feature_stats")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "aggregate": ["Aggregate", "Computed", "run_aggregate"],
        "groups": ["Grouping", "Groups", "read_groups"],
    },
)
