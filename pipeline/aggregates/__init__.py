"""Statistics over the graphs of a whole sweep: features, edges, enrichment, coactivation, supernodes.

Everything is a partial aggregate over some rows, merged by key: sums and bucket counts, so that neither the
order nor the cutting of the rows matters and no machine has to hold them all.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "jobs": ["Aggregation", "aggregate"],
        "parts": ["KEYS", "LOWEST_KEY"],
        "result": ["FOLDER", "Manifest", "Mined", "newest_mined"],
    },
)
