"""Graphs to tables, tables to files, files to commits: on local disk or S3, exactly once.

output = Output("runs/demo")                 # or s3://bucket/prefix
output.claim(run, key, columns)              # driver, once: whose folder this is
rows = join_tables([graph_tables(traced, output.extra_columns), failure_tables(failed, output.extra_columns)])
output.commit(shard_id(keys, key), rows)     # worker, once a shard
published = output.publish(key)              # driver, at the end: first publish, then clean up
output.delete_orphans(began, published.dropped)
output.duckdb().sql("select * from graphs")

What turns graphs into rows is imported on first use, so that a query does not wait for torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "aggregate_info": [
            "Agreement",
            "AggregateInfo",
            "Candidate",
            "CircuitTestsInfo",
            "CircuitsInfo",
            "PairsInfo",
            "StatisticsInfo",
            "SupernodesInfo",
            "WayInfo",
        ],
        "aggregate_results": ["AggregateResult", "current_aggregates"],
        "database": ["open_database"],
        "files": ["DataFile", "DataFolder"],
        "layout": ["SWEEP", "marker_name"],
        "nearby": ["nearby_outputs"],
        "notes": [
            "FeatureLabel",
            "Note",
            "beats_control",
            "current_notes",
            "exported_notes",
            "feature_labels",
            "import_notes",
            "labels_beside",
            "note_tables",
            "read_notes",
            "write_note",
            "write_notes",
        ],
        "output": ["Output", "open_folder"],
        "snapshot": ["Moment", "Snapshot"],
        "table_parts": ["PART_BYTES", "TablePart", "table_parts"],
    },
)
