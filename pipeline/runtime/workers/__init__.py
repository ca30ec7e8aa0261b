"""Workers on a Ray cluster: how many fit, their processes, what they say, and the calls that reach them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cluster_watch": ["GRACE_SECONDS", "ClusterWatch"],
        "crew": ["Crew"],
        "kept_warnings": ["KeptWarnings"],
        "messages": ["Heartbeat", "ShardReport", "WorkerAddress"],
        "own_process": ["own_address", "own_resources", "thread_environment"],
        "placement": ["Placement", "place_workers", "refuse_impossible"],
        "pool": [
            "PendingCall",
            "WorkerHandle",
            "WorkerPool",
            "death_reason",
            "is_death",
            "never_began",
            "raised_error",
            "was_preempted",
        ],
        "session": ["cluster", "draining", "machines"],
    },
)
