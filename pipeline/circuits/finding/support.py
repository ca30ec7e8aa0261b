"""Which prompts use which circuit, by their graphs: of both halves, and of all groups."""

from __future__ import annotations

import pyarrow as pa

from pipeline.circuits.finding.mechanisms import summed_with
from pipeline.circuits.finding.sums import COLLAPSED, EDGE_COLUMNS, KEY, TARGET, Part

USED = 0.5
"""Overlap from which on a prompt counts as using a circuit."""

SUPPORT = f"""
    with collapsed as ({COLLAPSED}),
    whole as (select circuit, sum(edge_share) as whole from circuit_edges group by all),
    held as (
        select circuit, prompt_key, id, grp, discovery, sum(edge_share) as held,
            sum(case when target_feature = {TARGET} then share else 0 end) as share
        from collapsed join circuit_edges using ({KEY}) group by all
    )
    select circuit, prompt_key, id, name as prompt_group, if(discovery, 'discovery', 'test') as half,
        held / whole as overlap, share, held / whole >= {USED} as is_used
    from held join whole using (circuit) join group_names using (grp)
    order by circuit, prompt_key
"""


def read_support(part: Part, labels: pa.Table, circuit_edges: pa.Table, group_names: pa.Table) -> pa.Table:
    """Return the rows of `circuit_support` of one part of `edges`.

    Args:
        part: of `edges`.
        labels: of the prompts.
        circuit_edges: `circuit`, the edges' key and their `edge_share`.
        group_names: `grp` and `name`.

    """
    others = {"circuit_edges": circuit_edges, "group_names": group_names}
    return summed_with(part.read(EDGE_COLUMNS), labels, others, SUPPORT)
