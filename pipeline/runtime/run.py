"""Run a kind of work from its items to published tables.

Keep other drivers out of the output, ask the markers what is done, let the driver do the rest, publish,
delete what nobody finished, and leave a report in `_runs/` however it ended. Every step may be repeated: work
that was killed is simply started again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Any

from pipeline.errors import CircuitSweepError
from pipeline.runtime.config import WorkersConfig
from pipeline.runtime.driver import Driver
from pipeline.runtime.shards import Complete, Item, Shards, read_seen
from pipeline.runtime.signals import signals_ignored, termination_interrupts
from pipeline.runtime.telemetry import Progress, RunReport
from pipeline.runtime.work import Work
from pipeline.runtime.workers import (
    Placement,
    WorkerPool,
    cluster,
    machines,
    place_workers,
    refuse_impossible,
)
from pipeline.store import Output
from pipeline.store.commits import Lease, write_report

SHARD_SIZE = 32
"""Items in a shard where nobody says otherwise."""


def run_work(
    work: Work,
    items: Iterable[Item],
    output: Output,
    workers: WorkersConfig,
    progress: Progress,
    *,
    address: str | None = None,
    shard_size: int = SHARD_SIZE,
    complete: Complete | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> RunReport:
    """Do what is left of some work, to its end.

    Args:
        work: what one item becomes.
        items: all items, those that are done among them.
        output: where the rows go, claimed for this work (see `Output.claim`).
        workers: how many processes, and with what.
        progress: is told what happens; its `counts.total` may say how many items there are.
        address: Ray cluster to join (default: `RAY_ADDRESS`, else a Ray of its own on this machine).
        shard_size: maximum number of items in a shard.
        complete: fills in what only items that are still to do need, a shard at a time.
        configuration: stored with the report.

    Raises:
        CircuitSweepError: the work cannot be loaded, or the output is held by another driver or cannot be
            written; what was committed stays.
        KeyboardInterrupt: the user, or whoever sent SIGTERM, wants it to end; what was committed stays.

    """
    with termination_interrupts(), output.hold() as lease:
        key = output.claimed().run_key
        shards = Shards(items, key, shard_size, counts=progress.counts, complete=complete)
        started = datetime.now(UTC)
        report = partial(
            RunReport,
            started=started,
            counts=progress.counts,
            run_key=key,
            configuration=configuration or {},
            repeated_keys=shards.repeated_keys,
            shared_ids=shards.shared_ids,
            notes=progress.notes,
        )
        try:
            shards.seen = read_seen(output)
            abandoned = _drive(work, shards, output, workers, lease, progress, address)
            lease.confirm()
            published = output.publish(key)
            # Last, since versions name the files of dropped shards until this one is published.
            output.delete_orphans(started.timestamp(), abandoned | published.dropped)
        except BaseException as error:
            # The reason for stopping matters more than the report of it.
            with suppress(CircuitSweepError), signals_ignored():
                ended = report(type(error).__name__, finished=datetime.now(UTC), error=str(error) or None)
                write_report(output.folder, ended)
            raise
        finished = report("finished", finished=datetime.now(UTC), published=published.versions)
        write_report(output.folder, finished)
        return finished


def _drive(
    work: Work,
    shards: Shards,
    output: Output,
    workers: WorkersConfig,
    lease: Lease,
    progress: Progress,
    address: str | None,
) -> set[str]:
    """Let a driver do what is left; start or join Ray only if something is.

    Returns: shards that nobody is to finish any more (see `Driver.run`).

    """

    def find_placement() -> Placement:
        return place_workers(workers, machines(), work.memory_bytes)

    left = iter(shards)
    first = next(left, None)
    if first is None:  # a night without new items asks for no cluster
        return set()
    with progress, cluster(address) as is_local:
        if is_local:  # no machine will join: what does not fit now never will
            refuse_impossible(find_placement(), machines())
        pool = WorkerPool(work, output.url, workers.prompt_seconds)
        driver = Driver(chain([first], left), output, pool, find_placement, progress, lease)
        return driver.run()
