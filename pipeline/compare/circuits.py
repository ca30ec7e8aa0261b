"""Circuits of two dictionaries compared through a match of their features.

Positions are collapsed, and an end point is called by what both sides know: a feature by the matched feature
of B, a token or a target by its text. Errors are left out. An edge of A between named ends is shared if B has
it in the same prompt and missing if not; one with an unmatched feature can be neither and is counted apart.
"""

from __future__ import annotations

import pyarrow as pa

from pipeline.compare.matching import Match
from pipeline.compare.sweep_pair import SweepPair
from schemas import DIFF_TABLES

COMPARED = """
    with joined as (
        select coalesce(a.prompt, b.prompt) as prompt, a.influence as a, b.influence as b,
            coalesce(a.source, b.source) is not null and coalesce(a.target, b.target) is not null as named
        from a_named a full join b_named b
            on a.prompt = b.prompt and a.source = b.source and a.target = b.target
    )
    select prompt, id, prompt_group,
        count(*) filter (where named and a is not null and b is not null) as shared,
        count(*) filter (where named and b is null) as missing,
        count(*) filter (where not named and b is null) as unmatched,
        count(*) filter (where named and a is null) as new,
        count(*) filter (where not named and a is null) as unmatched_b,
        coalesce(sum(a) filter (where named and b is not null) / sum(a), 0) as shared_influence,
        coalesce(sum(a) filter (where not named) / sum(a), 0) as unmatched_influence,
        coalesce(sum(b) filter (where named and a is null) / sum(b), 0) as new_influence
    from joined join prompts using (prompt) group by prompt, id, prompt_group order by prompt
"""


def compare_circuits(pair: SweepPair, match: Match) -> pa.Table:
    """Count and weigh the edges of each prompt's circuits: the rows of `diff_circuits`."""
    rows = circuits_by_prompt(pair, match.rows.filter(match.rows["matched"]))
    schema = DIFF_TABLES["diff_circuits"].schema
    return rows.select(schema.names).cast(schema)


def circuits_by_prompt(pair: SweepPair, matched: pa.Table) -> pa.Table:
    """Do the same through given pairs of features, with the number of each prompt beside its row."""
    pair.connection.register("matched", matched)
    for side in "ab":
        pair.connection.execute(f"create or replace table {side}_named as {_named_edges(side)}")
    return pair.sql(COMPARED)


def _named_edges(side: str) -> str:
    """SQL of one side's edges by the names of their ends, null for an unmatched feature."""
    return f"""
        with names as (
            select layer_{side} as layer, feature_{side} as feature, layer_b || '/' || feature_b as name
            from matched
        ), texts as (
            select prompts.prompt, prompts.{side}_key as prompt_key, g.tokens,
                list_transform(g.targets, lambda t: trim(t.label)) as labels
            from {side}_graphs g join prompts on g.prompt_key = prompts.{side}_key
        ), ends as (
            select prompt, influence, source_layer, source_feature, target_layer, target_feature,
                target_index,
                case source_kind when 'token' then 'token ' || trim(tokens[source_position + 1])
                    else s.name end as source,
                case target_kind when 'logit' then 'target ' || labels[target_index + 1]
                    else t.name end as target
            from {side}_edges e join texts using (prompt_key)
                left join names s
                    on e.source_kind = 'feature' and s.layer = source_layer and s.feature = source_feature
                left join names t
                    on e.target_kind = 'feature' and t.layer = target_layer and t.feature = target_feature
            where source_kind <> 'error'
        ), told_apart as (
            -- Edges between the same names become one; those with an unmatched end stay apart.
            select prompt, source, target, influence, case when source is null or target is null
                then (source_layer, source_feature, target_layer, target_feature, target_index)
                end as unmatched
            from ends
        )
        select prompt, source, target, sum(influence::double) as influence
        from told_apart group by prompt, source, target, unmatched
    """
