"""A sweep: its file, its inputs by content, and the work that turns one prompt into the rows of one graph.

Nothing here imports Ray; `pipeline.runtime` drives the work over machines.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["Count", "Section", "Share", "SweepConfig", "WorkersConfig"],
        "plan": ["SweepPlan", "plan_sweep"],
        "run": ["RunReport", "drive", "placement_finder", "run_sweep"],
        "status": ["GONE", "Status", "WorkerStatus", "read_status"],
        "summary": ["print_summary", "readable_bytes"],
        "sweep_file": ["check", "read_sweep_file", "required_keys"],
    },
)
