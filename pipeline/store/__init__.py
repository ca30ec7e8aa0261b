"""Graphs to tables, tables to files, files to commits: on local disk or S3, exactly once.

output = Output("runs/demo")                 # or s3://bucket/prefix
output.claim(run, key, columns)              # driver, once: whose folder this is
rows = join_tables([graph_tables(traced, output.carried), failure_tables(failed, output.carried)])
output.commit(shard_id(keys, key), rows)     # worker, once a shard
output.delete_orphans(); output.publish(key) # driver, at the end
output.duckdb().sql("select * from graphs")

What turns graphs into rows is imported on first use, so that a query does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.store.keys import prompt_key, run_key, shard_id, text_key
from pipeline.store.marker import DataFile, Marker
from pipeline.store.output import Output
from pipeline.store.rows import failure_tables, join_tables
from pipeline.store.traced import FailedPrompt, TracedPrompt, versions

if TYPE_CHECKING:
    from pipeline.store.tables import graph_tables

__all__ = [
    "DataFile",
    "FailedPrompt",
    "Marker",
    "Output",
    "TracedPrompt",
    "failure_tables",
    "graph_tables",
    "join_tables",
    "prompt_key",
    "run_key",
    "shard_id",
    "text_key",
    "versions",
]


def __getattr__(name: str) -> Any:
    """Import `graph_tables` when it is first asked for."""
    if name != "graph_tables":
        raise AttributeError(f"module 'pipeline.store' has no attribute {name!r}")
    return import_module("pipeline.store.tables").graph_tables
