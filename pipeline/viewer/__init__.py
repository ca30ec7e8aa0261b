"""The viewer: a page over a sweep's tables, served from this machine.

`server` passes requests to `answers` (one function an endpoint, SQL over one fixed state), behind `guard`.
The page's modules lie in `page/` and are read at start. Nothing here imports torch or Ray; the model, where
it is asked for, lives in a process of its own.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "options": ["ViewOptions"],
        "export": ["ExportedPage", "export_page"],
        "view": ["open_viewer", "view"],
    },
)
