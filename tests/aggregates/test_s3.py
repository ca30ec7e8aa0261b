"""Mining reads from and writes to S3 as it does to a local disk."""

from __future__ import annotations

from pipeline.aggregates.groups import Grouping, read_groups
from pipeline.aggregates.stats.clusters import labelled, read_clusters
from pipeline.aggregates.stats.merging import merge_edges
from pipeline.aggregates.stats.sums import sum_part
from pipeline.store.aggregate_info import StatisticsInfo
from pipeline.store.aggregate_results import AggregateResult
from pipeline.store.table_parts import table_parts
from tests.support.outputs import write_output


def test_a_result_is_written_once_and_read_back(s3_url: str) -> None:
    output = write_output(s3_url, range(8), ["a", "b"])
    snapshot = output.snapshot()
    labels = read_groups(snapshot, Grouping("family"))
    clusters, cluster = read_clusters(labels.rows)
    rows = labelled(labels.rows, clusters, cluster)
    sums = [sum_part(part, rows, 1)[0] for part in table_parts(snapshot, "edges", 1)]
    assert len(sums) == 2
    stats = merge_edges(sums, labels.sizes)
    result = AggregateResult.of(snapshot, "family", {"by": "family"})
    assert not result.exists()
    info = StatisticsInfo(
        groups=labels.sizes,
        clusters=clusters.sizes,
        mixed_clusters=0,
        left_out=labels.left_out,
        tests={},
        nearest={},
        seconds=1.5,
    )
    result.commit({"edge_stats": [result.write("edge_stats", stats, 0)]}, info)
    result.commit({"edge_stats": []}, info.model_copy(update={"seconds": 9.0}))  # a second process was slower
    assert result.manifest().info == info
    assert result.dataset("edge_stats").count_rows() == stats.num_rows > 0
    crossed = result.duckdb().sql("select count(*) from edge_stats, graphs")
    assert crossed.fetchall() == [(8 * stats.num_rows,)]
