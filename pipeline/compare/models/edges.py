"""Edges that both models use in a family, or one of them alone.

Positions are collapsed, tokens and targets are called so whatever they are, features by the match. A cluster
has an edge if a graph of one of its prompts has it. Of the clusters in which one model has it and the other
lacks it, as many would go either way if the models were the same: an exact sign test.
"""

from __future__ import annotations

import pyarrow as pa
from scipy.stats import binomtest

from pipeline.compare.sweep_pair import SweepPair
from pipeline.paired_differences import FALSE_DISCOVERY_RATE, adjusted
from schemas import MODEL_TABLES

SHARED = 0.5
"""Share of a family's clusters in which both models have an edge that is called shared."""

COUNTED = """
    with named as (
        select prompt, side, source, case when starts_with(target, 'target ') then 'a target' else target end
            as target, influence
        from (
            select prompt, 'a' as side, source, target, influence from a_named
            union all select prompt, 'b', source, target, influence from b_named
        ) where source is not null and target is not null
    ), found as (
        select prompt_group, cluster, source, target,
            bool_or(side = 'a') as in_a, bool_or(side = 'b') as in_b,
            sum(influence) filter (where side = 'a') as influence_a,
            sum(influence) filter (where side = 'b') as influence_b
        from named join prompts using (prompt) group by all
    ), sizes as (
        select prompt_group, count(distinct cluster) as clusters from prompts group by all
    )
    select prompt_group, source, target, any_value(clusters) as clusters,
        count(*) filter (where in_a) as clusters_a, count(*) filter (where in_b) as clusters_b,
        count(*) filter (where in_a and in_b) as in_both,
        coalesce(sum(influence_a), 0)::double as influence_a,
        coalesce(sum(influence_b), 0)::double as influence_b
    from found join sizes using (prompt_group) group by all order by all
"""


def edge_rows(pair: SweepPair) -> pa.Table:
    """Return the rows of `compare_edges`: shared ones, and those that are missing or new beyond chance.

    The circuits must have been compared before, which names the edges.
    """
    rows = pair.sql(COUNTED).to_pylist()
    p_values: list[float | None] = []
    for row in rows:
        alone_a, alone_b = row["clusters_a"] - row["in_both"], row["clusters_b"] - row["in_both"]
        p_values.append(float(binomtest(alone_a, alone_a + alone_b).pvalue) if alone_a + alone_b else 1.0)
    found = []
    for row, p, q in zip(rows, p_values, adjusted(p_values), strict=True):
        both = row.pop("in_both")
        change = None
        if q is not None and q <= FALSE_DISCOVERY_RATE:
            change = "missing" if row["clusters_a"] > row["clusters_b"] else "new"
        elif both >= SHARED * row["clusters"]:
            change = "shared"
        if change is not None:
            found.append(row | {"change": change, "p_value": p, "q_value": q})
    return pa.Table.from_pylist(found, MODEL_TABLES["compare_edges"].schema)
