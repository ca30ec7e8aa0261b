"""A sweep: its file, its inputs by content, and the work that turns one prompt into the rows of one graph.

Nothing here imports Ray; `pipeline.runtime` drives the work over machines.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "attribution_work": ["traced_prompt"],
        "config": ["AttributionConfig", "PruningConfig", "SweepConfig", "TargetsConfig"],
        "engine": ["Engine", "EngineConfig"],
        "memory": ["bytes_of_worker"],
        "plan": ["SweepPlan", "plan_sweep"],
        "prompts_config": ["PromptsConfig"],
        "run": ["run_sweep"],
        "sweep_file": ["check", "read_sweep_file"],
        "template": ["template"],
    },
)
