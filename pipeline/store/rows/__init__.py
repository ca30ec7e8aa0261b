"""Graphs and failures to Arrow tables, and tables to the bytes of a Parquet file."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "extra_columns": ["NO_COLUMNS", "extra_columns_schema", "columns_from_json", "columns_to_json"],
        "failures": ["failure_tables", "join_tables"],
        "graphs": ["graph_tables"],
        "parquet": ["BLOOM_VALUES", "COMPACTION_LEVEL", "encode", "write_options"],
        "records": ["FailedPrompt", "TracedPrompt", "versions"],
    },
)
