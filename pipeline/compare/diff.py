"""Feature by feature and edge by edge: how two sweeps with the same dictionary differ beyond noise.

Everything is measured relative to the largest of its kind in the prompt. In both: the larger of the
differences of activation and influence (nodes), weight and influence (edges). In one alone: how far its
influence lies from the other's cut, the smallest that was kept there; noise can carry over the cut only what
lies that close to it, while a looser pruning keeps what lies far below. Two engines in float32 agree on
edges to about 1e-5 of the largest; the floor is ten times that unless it is given or measured: over repeated
runs of one configuration it is the largest difference found between them.

Not covered: a node that pruning drops because all its edges went, when noise moved the last of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import pyarrow as pa

from pipeline.compare.sweep_pair import PairedSweep, SweepPair, open_pair
from pipeline.errors import ConfigurationError
from schemas import DIFF_TABLES, NODE_COLUMNS

FLOAT32_FLOOR = 1e-4
"""Noise floor of two float32 runs."""

NODE_PLACE = ("layer", "position", "feature")
EDGE_PLACE = (*(f"{end}_{name}" for end in ("source", "target") for name in NODE_COLUMNS), "target_index")

# The order of targets that are tokens or features is no part of their name: it follows their probabilities.
OTHER_TARGET = "case when target_token_id is null and target_feature is null then target_index end"


@dataclass(frozen=True)
class Kind:
    """Kind of items that are compared one by one."""

    table: str
    rows: str
    """SQL condition that chooses rows of the table."""

    place: tuple[str, ...]
    """Columns that name one within a prompt."""

    value: str
    """Its measured value."""

    rank: str
    """Column that pruning ranks it by."""


KINDS = {
    "features": Kind("nodes", "kind = 'feature'", NODE_PLACE, "activation", "influence"),
    "edges": Kind("edges", "true", EDGE_PLACE, "weight", "influence"),
}

SIDE = """
    {side}_side as (
        select prompt, {columns}, {value}::double as value, {rank}::double as rank,
            max(abs({value}::double)) over (partition by prompt) as top_value,
            max({rank}::double) over (partition by prompt) as top_rank,
            min({rank}::double) over (partition by prompt) as cut
        from {side}_{table} r join prompts on r.prompt_key = {side}_key where {rows}
    ), {side}_cuts as (select prompt, any_value(cut) as cut from {side}_side group by all)
"""

COMPARED = """
    with {a}, {b}
    select coalesce(a.prompt, b.prompt) as prompt, {either},
        a.value as value_a, b.value as value_b, a.rank as rank_a, b.rank as rank_b,
        case when b.rank is null then 'lost' when a.rank is null then 'gained' else 'changed' end as change,
        case when b.rank is null then abs(a.rank - coalesce(b_cuts.cut, 0)) / nullif(a.top_rank, 0)
            when a.rank is null then abs(b.rank - coalesce(a_cuts.cut, 0)) / nullif(b.top_rank, 0)
            else greatest(
                abs(a.value - b.value) / nullif(greatest(a.top_value, b.top_value), 0),
                abs(a.rank - b.rank) / nullif(greatest(a.top_rank, b.top_rank), 0), 0)
        end as size
    from a_side a full join b_side b on a.prompt = b.prompt and {same}
        left join a_cuts on a_cuts.prompt = coalesce(a.prompt, b.prompt)
        left join b_cuts on b_cuts.prompt = coalesce(a.prompt, b.prompt)
"""


def differences(pair: SweepPair, floor: float) -> dict[str, pa.Table]:
    """The rows of `diff_features` and `diff_edges`: what differs beyond the floor, largest first."""
    return {f"diff_{name}": _beyond(pair, f"diff_{name}", kind, floor) for name, kind in KINDS.items()}


def _beyond(pair: SweepPair, name: str, kind: Kind, floor: float) -> pa.Table:
    schema, place = DIFF_TABLES[name].schema, ", ".join(kind.place)
    values = ", ".join(
        f"value_{side} as {kind.value}_{side}, rank_{side} as {kind.rank}_{side}" for side in "ab"
    )
    rows = pair.sql(
        f"select id, prompt_group, {place}, change, size, {values} from ({_compared(kind)}) "
        f"join prompts using (prompt) where size > $floor order by size desc, id, {place}",
        floor=floor,
    )
    return rows.select(schema.names).cast(schema)


def _compared(kind: Kind) -> str:
    columns = [f"{OTHER_TARGET} as {name}" if name == "target_index" else name for name in kind.place]
    fields = {"columns": ", ".join(columns), "value": kind.value, "rank": kind.rank}
    a, b = (SIDE.format(side=side, table=kind.table, rows=kind.rows, **fields).strip() for side in "ab")
    same = " and ".join(f"a.{name} is not distinct from b.{name}" for name in kind.place)
    either = ", ".join(f"coalesce(a.{name}, b.{name}) as {name}" for name in kind.place)
    return COMPARED.format(a=a, b=b, same=same, either=either)


def noise_floor(pair: SweepPair, given: float | None, repeats: list[PairedSweep]) -> float:
    """The share of a prompt's largest below which a difference is noise.

    Raises:
        ConfigurationError: a run was not in float32 and there is neither a floor nor repeats of it.

    """
    if given is not None:
        return given
    if repeats:
        return max(_largest(one, other) for one, other in combinations([pair.a, *repeats], 2))
    if dtypes := {side.dtype for side in (pair.a, pair.b)} - {"float32"}:
        raise ConfigurationError(
            f"a sweep in {' and '.join(sorted(dtypes))} cannot be compared without a noise floor, since "
            "single edges move by up to 0.3 of the largest: give --repeat with a second run of A, or --floor."
        )
    return FLOAT32_FLOOR


def _largest(one: PairedSweep, other: PairedSweep) -> float:
    pair = open_pair(one, other)
    sizes = (f"select max(size) as size from ({_compared(kind)})" for kind in KINDS.values())
    found = [pair.sql(question)["size"][0].as_py() for question in sizes]
    return max((size for size in found if size is not None), default=0.0)
