"""Sums of one partition of the keys, merged into the rows of `feature_stats` and `edge_stats`.

Spreads are population standard deviations from sums of squares in float64; where they come out below zero
by rounding they are zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipeline.aggregates.stats.sketch import quantile_sql
from pipeline.aggregates.stats.sums import EDGE, Sums, connect
from schemas import AGGREGATE_TABLES


def _sd(total: str, squares: str, count: str) -> str:
    return f"sqrt(greatest(0, sum({squares}) / sum({count}) - (sum({total}) / sum({count})) ** 2))"


FEATURE_STATS = f"""
    with sums as (
        select prompt_group, layer, feature, sum(prompts) as prompts_active, sum(n) as activations,
            sum(activation) / sum(n) as activation_mean,
            {_sd("activation", "activation_squares", "n")} as activation_sd,
            max(activation_max) as activation_max,
            sum(from_end) / sum(n) as from_end_mean, sum(at_end) / sum(n) as at_end_share
        from active group by all
    ), counts as (
        select prompt_group, layer, feature, bucket, sum(n) as n from buckets group by all
    ), running as (
        select prompt_group, layer, feature, bucket,
            sum(n) over (partition by prompt_group, layer, feature order by bucket) as below,
            sum(n) over (partition by prompt_group, layer, feature) as total
        from counts
    ), quantiles as (
        select prompt_group, layer, feature,
            {quantile_sql("bucket", "below", "total", 10)} as activation_p10,
            {quantile_sql("bucket", "below", "total", 50)} as activation_p50,
            {quantile_sql("bucket", "below", "total", 90)} as activation_p90
        from running group by all
    ), graphs_with as (
        select prompt_group, layer, feature, sum(prompts) as prompts_kept,
            sum(influence) / sum(prompts) as influence_mean
        from kept group by all
    )
    select * replace (coalesce(prompts_kept, 0) as prompts_kept)
    from sums join quantiles using (prompt_group, layer, feature)
        left join graphs_with using (prompt_group, layer, feature)
    order by prompt_group, layer, feature
"""


def _by_coin(n: str) -> str:
    """Return SQL for the mean share of the more frequent side in n throws of a coin: 1, 3/4, 3/4, 11/16."""
    even = f"({n} - {n} % 2)"
    return f"0.5 + exp(lgamma({even} + 1) - 2 * lgamma({even} / 2 + 1) - ({even} + 1) * ln(2))"


EDGE_STATS = f"""
    select prompt_group, {EDGE}, sum(support) as support, any_value(prompts) as prompts,
        sum(weight) as weight_sum, sum(influence) as influence_sum,
        sum(weight) / sum(support) as weight_mean, {_sd("weight", "weight_squares", "support")} as weight_sd,
        sum(influence) / sum(support) as influence_mean,
        {_sd("influence", "influence_squares", "support")} as influence_sd,
        greatest(sum(positive), sum(negative)) / sum(support) as sign_consistency,
        {_by_coin("sum(support)")} as sign_consistency_by_chance
    from edges join sizes using (prompt_group) group by all
    order by all
"""


def merge_features(parts: Sequence[Sums]) -> pa.Table:
    """Return the rows of `feature_stats` for a partition."""
    return _merged("feature_stats", parts, ("active", "buckets", "kept"), FEATURE_STATS)


def merge_edges(parts: Sequence[Sums], sizes: Mapping[str, int]) -> pa.Table:
    """Return the rows of `edge_stats` for a partition; `sizes` are the prompts of each group."""
    prompts = pa.table({"prompt_group": pa.array(sizes, pa.string()), "prompts": pa.array(sizes.values())})
    return _merged("edge_stats", [*parts, {"sizes": prompts}], ("edges", "sizes"), EDGE_STATS)


def merge_by_cluster(kind: str, parts: Sequence[Sums]) -> pa.Table:
    """Return how many prompts of each cluster have each feature or edge of a partition."""
    sql = "select * exclude (prompts), sum(prompts)::bigint as prompts from {} group by all order by all"
    return _summed(parts, (f"with_{kind}",), sql.format(f"with_{kind}"))


def merge_tokens(parts: Sequence[Sums]) -> pa.Table:
    """Return the token that each feature or edge of a partition is most often on, and the share that is."""
    names = next(sums["tokens"].column_names for sums in parts if "tokens" in sums)
    item = ", ".join(name for name in names if name not in ("token_id", "n"))
    return _summed(
        parts,
        ("tokens",),
        f"""
            with merged as (
                select {item}, token_id, sum(n)::bigint as n from tokens group by all
            )
            select {item}, token_id as top_token_id, n / sum(n) over (partition by {item}) as token_share
            from merged
            qualify row_number() over (partition by {item} order by n desc, token_id) = 1
        """,
    )


def _merged(table: str, parts: Sequence[Sums], names: tuple[str, ...], sql: str) -> pa.Table:
    rows = _summed(parts, names, sql)
    # Sums of integers come as 128-bit ones, which Arrow cannot add up again.
    schema = AGGREGATE_TABLES[table].schema
    types = pa.schema(field for field in schema if field.name in rows.column_names)
    return rows.select(types.names).cast(types)


def _summed(parts: Sequence[Sums], names: tuple[str, ...], sql: str) -> pa.Table:
    """Run a query over the sums of all parts, by name."""
    with connect() as connection:
        for name in names:
            tables = [sums[name] for sums in parts if name in sums]
            connection.register(name, pa.concat_tables(tables, promote_options="permissive"))
        return connection.sql(sql).to_arrow_table()
