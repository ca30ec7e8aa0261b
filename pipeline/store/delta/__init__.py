"""TODO."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "log": ["TableLog", "last_version", "read_log", "replace_files"],
        "publish": ["publish_tables"],
    },
)
