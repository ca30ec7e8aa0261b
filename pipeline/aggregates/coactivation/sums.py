"""Features that are active together, as sums over the pairs that ever are.

Two passes over `activations`. The first counts single features. A pair cannot be together more often than its
rarer feature is active, so the second forms pairs of features above the support cut only (the apriori rule),
and the cut on pairs is exact. Sums S_st = sum a_s a_t and S_t = sum a_t over positions merge by addition:
E[a_t a_s] / E[a_t] = S_st / S_t.

    Jaccard = n_st / (n_s + n_t - n_st)
    NPMI    = log(p_st / (p_s p_t)) / -log p_st,  p = n / N over all N positions that can carry features

Cost: pairs of features active at one position, so the square of their number: 700 at 40 active a position,
half a million at 1,000. Raise the support cut, or take fewer prompts, where that is too much.
Sources: Agrawal and Srikant, VLDB 1994 (apriori); Bouma, GSCL 2009 (NPMI); "Circuit Tracing", 2025, section
on global weights (TWERA).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from pipeline.aggregates.stats import Sums, connect, cut, summed
from pipeline.store import TablePart

PAIR = "source_layer, source_feature, target_layer, target_feature"

ENDS = """
    rows s join rows t on s.prompt_key = t.prompt_key and s.position = t.position
        and (s.layer, s.feature) < (t.layer, t.feature)
"""

SINGLES = """
    select layer, feature, count(*) as n, sum(activation::double) as activation from rows group by all
"""

PAIRS = f"""
    select *,
        (source_layer * 1000003 + source_feature) * 31 + target_layer * 1000003 + target_feature as key_hash
    from (
        select s.layer::int as source_layer, s.feature as source_feature,
            t.layer::int as target_layer, t.feature as target_feature,
            count(*) as n, sum(s.activation::double * t.activation::double) as product
        from {ENDS} group by all
    )
"""

MERGED_SINGLES = """
    select layer, feature, sum(n)::bigint as n, sum(activation) as activation
    from singles group by all having sum(n) >= $least order by all
"""

MERGED_PAIRS = f"""
    with merged as (
        select {PAIR}, sum(n)::bigint as n_coactive, sum(product) as product
        from pairs group by all having sum(n) >= $least
    )
    select {PAIR}, n_coactive, s.n as source_active, t.n as target_active,
        n_coactive / (s.n + t.n - n_coactive) as jaccard,
        case when n_coactive >= $positions then 1
            else ln(n_coactive * $positions / (s.n * t.n)) / -ln(n_coactive / $positions) end as npmi,
        product / t.activation as source_given_target
    from merged
        join singles s on s.layer = source_layer and s.feature = source_feature
        join singles t on t.layer = target_layer and t.feature = target_feature
    order by {PAIR}
"""

COLUMNS = ["prompt_key", "layer", "position", "feature", "activation"]


def sum_singles(part: TablePart, chosen: pa.Table | None) -> pa.Table:
    """Count a part's features one by one, on all prompts or those whose `prompt_key` was chosen."""
    return summed(_rows(part, chosen), {"singles": SINGLES})["singles"]


def _rows(part: TablePart, chosen: pa.Table | None) -> pa.Table:
    rows = part.read(COLUMNS)
    return rows if chosen is None else rows.join(chosen, "prompt_key", join_type="inner")


def merge_singles(parts: Sequence[pa.Table], least: int) -> pa.Table:
    """Return the features active at `least` positions or more, with their sums."""
    with connect() as connection:
        connection.register("singles", pa.concat_tables(parts, promote_options="permissive"))
        return connection.sql(MERGED_SINGLES, params={"least": least}).to_arrow_table()


def sum_pairs(part: TablePart, chosen: pa.Table | None, singles: pa.Table, partitions: int) -> list[Sums]:
    """Sum over a part's pairs of these features; one result for each partition of the pairs."""
    frequent = _rows(part, chosen).join(
        singles.select(["layer", "feature"]), ["layer", "feature"], join_type="inner"
    )
    return cut(summed(frequent, {"pairs": PAIRS}), partitions)


def merge_pairs(parts: Sequence[Sums], singles: pa.Table, least: int, positions: int) -> pa.Table:
    """Return the pairs of a partition that are together at `least` positions or more, without weights."""
    with connect() as connection:
        tables = [sums["pairs"] for sums in parts]
        connection.register("pairs", pa.concat_tables(tables, promote_options="permissive"))
        connection.register("singles", singles)
        values = {"least": least, "positions": float(positions)}
        return connection.sql(MERGED_PAIRS, params=values).to_arrow_table()
