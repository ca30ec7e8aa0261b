"""Exactly-once work over shards on Ray, whatever the work is: it knows items, and no model.

Where it says prompt, the word is the user's or the store's: `workers.prompt_seconds`, `prompt_key`,
`PromptTimeout`, a message.

A kind of work is a class with `tables`, `load` and `do` (see `work`), run by one call:

report = run_work(work, items, output, workers, progress)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["WorkersConfig"],
        "driver": ["Driver"],
        "gangs": [
            "GangProgress",
            "GangRunState",
            "GangSchedule",
            "GangWork",
            "Member",
            "News",
            "Unit",
            "UnitState",
            "run_gangs",
        ],
        "run": ["run_work"],
        "shards": ["Counts", "Item", "SeenKeys", "Shard", "Shards", "StageError", "read_seen"],
        "telemetry": ["Committed", "RunReport", "Status", "WorkerStatus", "read_status"],
        "work": ["Rows", "Work", "WorkerResources", "output_of"],
        "workers": ["Placement", "WorkerPool", "cluster", "place_workers"],
    },
)
