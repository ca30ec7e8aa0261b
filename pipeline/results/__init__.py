"""Asking a finished or running sweep: SQL, lazy frames and data sets over one state of its output.

results = Results("runs/demo")               # or s3://bucket/prefix
results.sql("select family, avg(completeness_score) from graphs group by family").show()
results.lazy_frame("edges")                  # Polars
results.dataset("nodes")                     # pyarrow
results.at("2026-01-31")                     # the same, as published by the end of that day
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "answers": ["as_table", "write_file"],
        "paths": ["Path", "strongest_paths"],
        "correctness": ["is_correct"],
        "results": ["MADE_BY", "Results", "explained"],
        "shell": ["Shell"],
        "stored_graph": ["StoredGraph", "graph_of", "read_graph", "why_missing"],
    },
)
