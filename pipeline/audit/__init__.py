"""Audits: are two groups treated differently, through which features, and what does it cost to stop that?"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "audit": ["Audit", "run_audit"],
        "pack": ["Pack", "read_pack", "shipped_packs"],
        "page": ["audit_page"],
    },
)
