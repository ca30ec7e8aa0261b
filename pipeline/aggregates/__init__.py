"""Aggregates of a sweep: tables computed from all its graphs, and kept beside them.

result = run_aggregate("runs/demo", GroupStatistics(by="family"))     # of pipeline.aggregates.stats
result = run_aggregate("runs/demo", Coactivation(min_support=10))     # of pipeline.aggregates.coactivation
result = run_aggregate("runs/demo", Supernodes(by="family"))          # of pipeline.aggregates.supernodes
result.dataset("feature_stats")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "aggregate": ["Aggregate", "run_aggregate"],
    },
)
