"""Run long work on Ray, of this machine or a cluster, until no unit is left or a signal asks for the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from pipeline.runtime.config import WorkersConfig
from pipeline.runtime.gangs.driver import GangDriver, refuse_large_gangs
from pipeline.runtime.gangs.news import GangMetrics, GangProgress
from pipeline.runtime.gangs.pool import GangPool
from pipeline.runtime.gangs.schedule import GangSchedule
from pipeline.runtime.gangs.work import GangWork, Unit
from pipeline.runtime.workers import Placement, cluster, machines, place_workers, refuse_impossible
from pipeline.store.commits import Lease


def run_gangs(
    work: GangWork,
    units: Sequence[Unit],
    output: str,
    workers: WorkersConfig,
    progress: GangProgress,
    lease: Lease,
    saved: Callable[[str], int],
    *,
    address: str | None = None,
) -> GangSchedule:
    """Have gangs go on with units until each is done or given up.

    Args:
        work: how to go on with a unit.
        units: those that are not done.
        output: URL of the output, for metrics.
        workers: how many processes there may be, and with what.
        progress: is told what happens.
        lease: keeps other drivers out.
        saved: returns the step of a unit's last complete checkpoint.
        address: Ray cluster to join (default: `RAY_ADDRESS`, else a Ray of its own on this machine).

    Returns: what became of each unit.

    Raises:
        CircuitSweepError: nobody can do the work, or the output cannot be written; what was kept stays.
        KeyboardInterrupt: a signal asked for the end; what was at work is kept.

    """
    schedule = GangSchedule(deque(units))
    if not units:  # asks for no cluster
        return schedule

    def find_placement() -> Placement:
        return place_workers(workers, machines(), work.memory_bytes)

    with progress, cluster(address) as is_local:
        if is_local:  # no machine will join: what does not fit now never will
            placement = find_placement()
            refuse_impossible(placement, machines())
            here = machines()[0]
            refuse_large_gangs(list(units), placement, here.get("CPU", 0), here.get("GPU", 0))
        GangDriver(
            schedule, GangPool(work), find_placement, saved, progress, lease, GangMetrics(output)
        ).run()
    return schedule
