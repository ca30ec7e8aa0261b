"""One sweep against another: what was gained, lost or changed beyond noise."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "comparison": ["DICTIONARIES", "Comparison", "compare", "write_tables"],
        "matching": ["Observations", "match_features"],
        "sweep_pair": ["PairedSweep"],
    },
)
