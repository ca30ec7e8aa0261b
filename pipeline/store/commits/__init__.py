"""Exactly-once commits without a database: a create-only marker per shard lists the files that count.

`keys` names prompts, runs and shards; `lease` keeps a second driver out; `overlaps` decides which of two
markers that hold the same prompt counts; `orphans` are files that no marker names.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "commit": ["commit_shard"],
        "formats": ["refuse_other_formats"],
        "keys": ["SIGNED", "key_ranges", "position_key", "prompt_key", "run_key", "shard_id", "text_key"],
        "lease": ["Holder", "Lease", "hold", "read_holder"],
        "marker": ["Marker", "checked_marker", "read_marker", "read_markers"],
        "orphans": ["delete_orphans"],
        "overlaps": ["Commits", "delete_dropped", "overlapping", "published_shards", "read_commits"],
        "runs": ["StoredReport", "key_of_repeated", "read_reports", "report_names", "write_report"],
        "sweep_metadata": ["SweepMetadata", "claim_folder", "read_sweep_metadata"],
    },
)
