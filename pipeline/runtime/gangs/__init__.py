"""Long work on Ray: units that take hours and keep checkpoints, each done by a gang of processes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "news": ["GangProgress", "GangRunState", "UnitState"],
        "run": ["run_gangs"],
        "schedule": ["GangSchedule"],
        "work": ["GangWork", "Member", "News", "Unit"],
    },
)
