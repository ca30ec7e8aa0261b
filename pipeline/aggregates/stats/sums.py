"""Sums over one part of a table, cut into partitions of the keys.

Every prompt lies in one part, so a prompt's rows are collapsed here (a feature active at three positions is
one active prompt; edges between the same end points are added up), and what leaves are plain sums over
prompts, and counts by cluster where a cluster has several. A partition holds all labels of a feature or an
edge: whoever merges it can test it, too. Activations do not depend on what a graph explains: the same tokens
under several targets count once in sums over them.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from pipeline.aggregates.stats.sketch import bucket_sql
from pipeline.store import TablePart, open_database
from schemas import NODE_COLUMNS

Sums = dict[str, pa.Table]
"""Tables of sums by name: `active`, `buckets`, `kept`, `edges`, `with_feature`, `with_edge`, `tokens`."""

EDGE = ", ".join(
    f"{end}_{name}" for end in ("source", "target") for name in NODE_COLUMNS if name != "position"
)
"""An edge's key without its positions."""


def _node_hash(end: str) -> str:
    """Return SQL that numbers a node without its position; never null, which is in no partition."""
    return f"(coalesce({end}layer, -1) + 1) * 1000003 + coalesce({end}feature, {end}token_id, -1) + 1"


FEATURE_HASH = "(layer + 1) * 1000003 + feature + 1"
EDGE_HASH = f"({_node_hash('source_')}) * 31 + {_node_hash('target_')}"
"""A number spread evenly over the keys, the same in every process."""

ACTIVE = """
    select prompt_group, layer, feature, count(distinct prompt_key) as prompts, count(*) as n,
        sum(activation::double) as activation, sum(activation::double ** 2) as activation_squares,
        max(activation::double) as activation_max,
        sum(positions - 1 - position) as from_end, count(*) filter (where position = positions - 1) as at_end
    from rows join labels using (prompt_key) where first group by all
"""

BUCKETS = f"""
    select prompt_group, layer, feature, {bucket_sql("activation")} as bucket, count(*) as n
    from rows join labels using (prompt_key) where first group by all
"""

WITH_FEATURE = """
    select layer, feature, cluster, cluster_group, stratum, count(distinct prompt_key) as prompts
    from rows join labels using (prompt_key) group by all
"""

KEPT = """
    select prompt_group, layer, feature, count(*) as prompts, sum(influence) as influence
    from (
        select prompt_key, layer, feature, sum(influence::double) as influence
        from rows where kind = 'feature' group by all
    ) join labels using (prompt_key) group by all
"""

EDGES = f"""
    select prompt_group, {EDGE}, count(*) as support,
        sum(weight) as weight, sum(weight ** 2) as weight_squares,
        sum(influence) as influence, sum(influence ** 2) as influence_squares,
        count(*) filter (where weight > 0) as positive, count(*) filter (where weight < 0) as negative
    from (
        select prompt_key, {EDGE}, sum(weight::double) as weight, sum(influence::double) as influence
        from rows group by all
    ) join labels using (prompt_key) group by all
"""

WITH_EDGE = f"""
    select {EDGE}, cluster, cluster_group, stratum, count(distinct prompt_key) as prompts
    from rows join labels using (prompt_key) group by all
"""

TOKENS = """
    select layer, feature, token_ids[position + 1] as token_id, count(*) as n
    from rows join labels using (prompt_key) where first group by all
"""

EDGE_TOKENS = f"""
    select {EDGE}, token_ids[source_position + 1] as token_id, count(*) as n
    from rows join labels using (prompt_key) group by all
"""
"""An edge is on the token that its source is on."""

WITH_FEATURE_ON_TOKEN = """
    select layer, feature, token_ids[position + 1] as token_id, cluster, count(distinct prompt_key) as prompts
    from rows join labels using (prompt_key) group by all
"""

WITH_EDGE_ON_TOKEN = f"""
    select {EDGE}, token_ids[source_position + 1] as token_id, cluster, count(distinct prompt_key) as prompts
    from rows join labels using (prompt_key) group by all
"""

QUERIES: dict[str, dict[str, str]] = {
    "activations": {"active": ACTIVE, "buckets": BUCKETS, "with_feature": WITH_FEATURE, "tokens": TOKENS},
    "nodes": {"kept": KEPT},
    "edges": {"edges": EDGES, "with_edge": WITH_EDGE, "tokens": EDGE_TOKENS},
}
"""The sums over each table, as SQL by name."""

BY_TOKEN = {
    "activations": {"with_feature": WITH_FEATURE_ON_TOKEN},
    "nodes": {},
    "edges": {"with_edge": WITH_EDGE_ON_TOKEN},
}
"""Sums that stand in where tokens are the strata."""


def connect(threads: int = 1) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB with a limit on its threads."""
    return open_database({"threads": threads})


def sum_part(part: TablePart, labels: pa.Table, partitions: int, by_token: bool = False) -> list[Sums]:
    """Sum a part's rows by group; return sums for each partition of the keys."""
    key_hash = EDGE_HASH if part.table == "edges" else FEATURE_HASH
    wanted = QUERIES[part.table] | (BY_TOKEN[part.table] if by_token else {})
    queries = {name: f"select *, {key_hash} as key_hash from ({sql})" for name, sql in wanted.items()}
    return cut(summed(part.read(), queries, labels), partitions)


def summed(rows: pa.Table, queries: dict[str, str], labels: pa.Table | None = None) -> Sums:
    """Run each query over the tables `rows` and `labels`."""
    with connect() as connection:
        connection.register("rows", rows)
        if labels is not None:
            connection.register("labels", labels)
        return {name: connection.sql(sql).to_arrow_table() for name, sql in queries.items()}


def cut(sums: Sums, partitions: int) -> list[Sums]:
    """Cut sums into partitions by the hash of their keys."""
    return [
        {name: _partition(table, number, partitions) for name, table in sums.items()}
        for number in range(partitions)
    ]


def _partition(table: pa.Table, number: int, partitions: int) -> pa.Table:
    partition = table["key_hash"].to_numpy() % partitions
    return table.drop_columns("key_hash").filter(pa.array(partition == number))
