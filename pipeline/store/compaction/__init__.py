"""Many small files to few, with projections sorted by feature, and what vacuum may delete afterwards."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compaction": ["Compacted", "compact"],
        "manifest": ["Manifest", "checked_manifest", "read_manifests"],
        "projections": ["PROJECTIONS", "projections_of"],
        "leftovers": ["Deleted", "delete_leftovers", "vacuum"],
    },
)
