"""An item that kills every process that does it: the driver itself commits its failure."""

from __future__ import annotations

from pipeline.runtime.shards import Shard
from pipeline.runtime.workers import ShardReport
from pipeline.store import Output, marker_name
from pipeline.store.commits import read_marker
from pipeline.store.rows import failure_tables, join_tables


class WorkerDied(Exception):  # noqa: N818 - its name is what people read in `failures`
    """The process that did an item died."""


def commit_given_up(output: Output, shard: Shard, reason: str) -> tuple[ShardReport, str]:
    """Commit the failure of the item that a shard is down to, with what had been rejected beside it.

    Returns: the report of what is committed now, and the name of who committed it.

    """
    error = WorkerDied(f"the process died {shard.deaths} times while it did this prompt alone: {reason}")
    killers = [item.failed(shard.run_key, "worker", error, shard.deaths) for item in shard.items]
    failed = (*killers, *shard.rejected)
    rows = join_tables(failure_tables(one, output.extra_columns) for one in failed)
    marker = output.commit(shard.id, rows, worker="driver")
    if marker is None:  # a worker had committed it before it died, and could not say so any more
        marker = read_marker(output.folder, output.tables, marker_name(shard.id))
    report = ShardReport(
        done=len(shard.items),
        shard=shard.id,
        done_keys=marker.prompt_keys,
        with_rows=len({*marker.named_by} - {*marker.failed_keys}),
        failed=tuple(one for one in failed if one.prompt_key in marker.failed_keys),
        rows=marker.rows,
        bytes=marker.bytes,
        seconds=marker.seconds,
    )
    return report, marker.worker or "driver"
