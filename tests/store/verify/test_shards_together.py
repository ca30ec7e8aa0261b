"""Many shards in one question: what is wrong with one is said of that one, and of no other."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from xxhash import xxh3_128_hexdigest

from pipeline.store.commits import Marker
from pipeline.store.output import Output
from pipeline.store.verify.checks import verify


def rewrite(output: Output, marker: Marker, table: str, rows: pa.Table) -> None:
    """Write other rows into a shard's file, and describe them in its marker as if they were its own."""
    path = Path(output.url, marker.files[table].path)
    path.unlink()
    pq.write_table(rows, path)
    name = Path(output.url, "_commits", f"{marker.shard}.json")
    stored = json.loads(name.read_text())
    data = path.read_bytes()
    checksum = f"xxh3-128:{xxh3_128_hexdigest(data)}"
    stored["files"][table] |= {"rows": rows.num_rows, "bytes": len(data), "checksum": checksum}
    name.write_text(json.dumps(stored))


def rows_of(output: Output, marker: Marker, table: str) -> pa.Table:
    return pq.read_table(Path(output.url, marker.files[table].path))


def test_a_shard_that_holds_rows_of_anothers_prompts_is_named(local: Output) -> None:
    first, second, _ = local.committed()
    moved = rows_of(local, second, "failures")
    rewrite(local, first, "failures", pa.concat_tables([rows_of(local, first, "failures"), moved]))
    problems = verify(local.url).problems
    assert {problem.drop for problem in problems} >= {first.shard}
    assert not any(problem.drop == second.shard for problem in problems)


def test_a_wrong_row_among_many_shards_is_blamed_on_its_own(local: Output) -> None:
    markers = list(local.committed())
    waiting = next(m for m in markers if m.files["edges"].path not in local.stored.logs()["edges"].added)
    rewrite(local, waiting, "edges", rows_of(local, waiting, "edges").slice(1))
    problems = verify(local.url).problems
    assert {problem.drop for problem in problems} == {waiting.shard}
    assert any("graphs.kept_edges" in problem.what for problem in problems)
