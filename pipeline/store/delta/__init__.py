"""Published versions: one Delta Lake log per table, written at the end of a run and after a compaction."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "log": ["TableLog", "last_version", "read_log", "replace_files"],
        "plain_files": ["plain_changes", "show_last_version"],
        "publish": ["Published", "publish_tables"],
        "stored_tables": ["StoredTables", "mixed_shards"],
    },
)
