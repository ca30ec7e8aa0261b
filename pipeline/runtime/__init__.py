"""Exactly-once work over shards on Ray, whatever the work is.

A schedule says which worker gets which shard and what becomes of a shard whose worker died; the driver is a
loop around it; a worker owns its devices and does shard after shard. Nothing here knows a model or a
prompt.
"""

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
