"""Items, the shards they are grouped into, and the schedule of who does which shard; without Ray."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "counts": ["Counts"],
        "grouping": ["Complete", "Shards", "read_seen"],
        "schedule": ["SHARDS_HELD", "Death", "ShardSchedule"],
        "seen_keys": ["SeenKeys"],
        "shard": ["Item", "Shard"],
        "stage": ["StageError"],
    },
)
