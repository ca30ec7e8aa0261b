"""One of several processes that commit the same shards, in a file that imports no more than that needs."""

from __future__ import annotations

from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

import pyarrow as pa

from pipeline.store.output import Output


def commit_shards(
    url: str, shards: list[str], tables: dict[str, pa.Table], together: Barrier, won: Queue
) -> None:
    """Commit every shard, once all are there, and say which were won."""
    output = Output(url)
    together.wait()
    won.put([shard for shard in shards if output.commit(shard, tables)])
