"""Sums over one part of a sweep's `edges`, cut into partitions of the edges between roles.

An edge here is between features at roles, or from one into the target: of a prompt's edges between the same
two, at whatever positions, influence is summed. Its `share` is this influence over all that comes into the
prompt's targets, its sign that of most of the influence. An edge counts where its share is `min_share` or
more, on prompts of the discovery half.

Means over clusters are sums over prompts with the weight 1 / (prompts of the cluster), so that parts add up.
Prompts that are a cluster of their own are counted together, as cluster -1.
"""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from pipeline.aggregates.stats import ALONE, Sums, cut, summed

TARGET = -1
"""Number that stands for the target where a feature's would be."""

ENDS = ("layer", "feature", "role")
KEY = ", ".join(f"{end}_{name}" for end in ("source", "target") for name in ENDS)

COLLAPSED = f"""
    with ended as (
        select prompt_key, grp, cluster, alone, weight as w, sampled, discovery, id,
            source_kind, target_kind, source_layer, source_feature,
            roles[source_position + 1] as source_role, target_layer,
            case when target_kind = 'logit' then {TARGET} else target_feature end as target_feature,
            roles[target_position + 1] as target_role,
            influence::double as influence, sign(edge_weight) as direction, stability::double as stability,
            sum(case when target_kind = 'logit' then influence::double else 0 end)
                over (partition by prompt_key) as total
        from (select * rename (weight as edge_weight) from rows) as rows join labels using (prompt_key)
    )
    select prompt_key, grp, cluster, alone, w, sampled, discovery, id, {KEY},
        sum(influence) / any_value(total) as share, sign(sum(influence * direction)) as sign,
        max(stability) as stability
    from ended
    where source_kind = 'feature' and target_kind in ('feature', 'logit') and total > 0
    group by all
"""

EDGES = f"""
    select grp, {KEY}, sum(w) as support, sum(w * share) as share, sum(w) filter (where sign > 0) as raised,
        sum(w * stability) as stability
    from rows group by all
"""

BY_CLUSTER = f"""
    select {KEY}, case when alone then {ALONE} else cluster end as counted, grp, count(*) as prompts
    from rows group by all
"""

LAYERS = """
    select grp, source_layer, target_layer, sum(w) as edges from rows group by all
"""

DEGREES = """
    select 'source' as of_end, source_layer, target_layer, source_feature as feature, source_role as role,
        sum(w) as edges
    from rows group by all
    union all
    select 'target', source_layer, target_layer, target_feature, target_role, sum(w)
    from rows group by all
"""

EDGE_HASH = """
    (((source_layer + 1) * 1000003 + source_feature + 1)::bigint * 31 + source_role) * 31
    + (target_layer * 1000033 + target_feature + 2)::bigint * 37 + target_role
"""
"""A number spread over the edges, the same in every process."""


class Part(Protocol):
    """Some rows of a table, with all rows of the prompts in it."""

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Return the rows."""


def sum_edges(part: Part, labels: pa.Table, partitions: int, min_share: float) -> list[Sums]:
    """Return the sums of a part by partition of the edges; the last ones are of no single edge."""
    counting = f"select * from ({COLLAPSED}) where discovery and share >= {min_share!r}"
    edges = summed(part.read(EDGE_COLUMNS), {"edges": counting}, labels)["edges"]
    found = summed(
        edges,
        {
            "edges": f"select *, {EDGE_HASH} as key_hash from ({EDGES})",
            "by_cluster": f"select *, {EDGE_HASH} as key_hash from ({BY_CLUSTER})",
            "layers": LAYERS,
            "degrees": DEGREES,
        },
    )
    of_all = {name: found.pop(name) for name in ("layers", "degrees")}
    return [*cut(found, partitions), of_all]


EDGE_COLUMNS = [
    "prompt_key",
    "id",
    *(f"{end}_{name}" for end in ("source", "target") for name in ("kind", "layer", "position", "feature")),
    "weight",
    "influence",
    "stability",
]
"""Columns of `edges` that are read."""
