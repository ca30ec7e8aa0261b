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

NODE_KEY = ("layer", "position", "feature")
EDGE_KEY = (*(f"{end}_{name}" for end in ("source", "target") for name in NODE_COLUMNS), "target_index")

# The order of targets that are tokens or features is no part of their name: it follows their probabilities.
OTHER_TARGET = "case when target_token_id is null and target_feature is null then target_index end"


@dataclass(frozen=True)
class Kind:
    """Kind of items that are compared one by one."""

    table: str
    rows: str
    """SQL condition that chooses rows of the table."""

    key: tuple[str, ...]
    """Columns that tell one from all others of its prompt."""

    value: str
    """Its measured value."""

    rank: str
    """Column that pruning ranks it by."""


KINDS = {
    "features": Kind("nodes", "kind = 'feature'", NODE_KEY, "activation", "influence"),
    "edges": Kind("edges", "true", EDGE_KEY, "weight", "influence"),
}

# Of an item that both kept, the larger of its two relative differences.
BOTH_KEPT = """greatest(
    abs(a.value - b.value) / nullif(greatest(a.top_value, b.top_value), 0),
    abs(a.rank - b.rank) / nullif(greatest(a.top_rank, b.top_rank), 0), 0)"""

# Of an item that one side lacks, how far above the other's cut it lies; where nothing was kept, the cut is 0.
LOST = "abs(a.rank - coalesce(b_cuts.cut, 0)) / nullif(a.top_rank, 0)"
GAINED = "abs(b.rank - coalesce(a_cuts.cut, 0)) / nullif(b.top_rank, 0)"


def differences(pair: SweepPair, floor: float) -> dict[str, pa.Table]:
    """Return the rows of `diff_features` and `diff_edges`: differences beyond the floor, largest first."""
    return {f"diff_{name}": _beyond(pair, f"diff_{name}", kind, floor) for name, kind in KINDS.items()}


def _beyond(pair: SweepPair, name: str, kind: Kind, floor: float) -> pa.Table:
    schema, key = DIFF_TABLES[name].schema, ", ".join(kind.key)
    values = ", ".join(
        f"value_{side} as {kind.value}_{side}, rank_{side} as {kind.rank}_{side}" for side in "ab"
    )
    rows = pair.sql(
        f"select id, prompt_group, {key}, change, size, {values} from ({_compared(kind)}) "
        f"join prompts using (prompt) where size > $floor order by size desc, id, {key}",
        floor=floor,
    )
    return rows.select(schema.names).cast(schema)


def _compared(kind: Kind) -> str:
    """SQL of every item that either side kept: key, numbers of both sides, size of the difference."""
    key = ", ".join(f"coalesce(a.{name}, b.{name}) as {name}" for name in kind.key)
    # Parts of a key are null where they do not apply, and null is not equal to null.
    same_item = " and ".join(f"a.{name} is not distinct from b.{name}" for name in ("prompt", *kind.key))
    return f"""
        with a_items as ({_items(kind, "a")}), a_cuts as ({_cuts("a")}),
            b_items as ({_items(kind, "b")}), b_cuts as ({_cuts("b")})
        select coalesce(a.prompt, b.prompt) as prompt, {key},
            a.value as value_a, b.value as value_b, a.rank as rank_a, b.rank as rank_b,
            case when b.rank is null then 'lost' when a.rank is null then 'gained' else 'changed' end
                as change,
            case when b.rank is null then {LOST} when a.rank is null then {GAINED} else {BOTH_KEPT} end
                as size
        from a_items a full join b_items b on {same_item}
            left join a_cuts on a_cuts.prompt = coalesce(a.prompt, b.prompt)
            left join b_cuts on b_cuts.prompt = coalesce(a.prompt, b.prompt)
    """


def _items(kind: Kind, side: str) -> str:
    """SQL of one side's items, each beside the extremes of its prompt."""
    key = [f"{OTHER_TARGET} as {name}" if name == "target_index" else name for name in kind.key]
    return f"""
        select prompt, {", ".join(key)}, {kind.value}::double as value, {kind.rank}::double as rank,
            max(abs({kind.value}::double)) over (partition by prompt) as top_value,
            max({kind.rank}::double) over (partition by prompt) as top_rank,
            min({kind.rank}::double) over (partition by prompt) as cut
        from {side}_{kind.table} r join prompts on r.prompt_key = {side}_key where {kind.rows}
    """


def _cuts(side: str) -> str:
    """SQL of the smallest rank that one side kept, a row a prompt."""
    return f"select prompt, any_value(cut) as cut from {side}_items group by all"


def noise_floor(pair: SweepPair, given: float | None, repeats: list[PairedSweep]) -> float:
    """Return the share of a prompt's largest number below which a difference is noise.

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
