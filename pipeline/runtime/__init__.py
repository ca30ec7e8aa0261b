"""TODO."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "driver": ["Driver"],
        "placement": ["Placement", "bytes_of_replica", "place", "refuse_impossible"],
        "pool": ["Fleet"],
        "session": ["cluster", "machines"],
        "shard": ["ReadTargets", "Shard", "ShardPrompt", "Shards", "Tokenize", "read_ledger"],
        "signals": ["signals_ignored", "termination_interrupts"],
        "stage": ["StageError"],
        "worker": ["Tables", "Worker"],
    },
)
