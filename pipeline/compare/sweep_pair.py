"""Two sweeps side by side: what each is, which prompts they share, and one DuckDB over both.

Prompts are shared by their tokens, or, where no key occurs in both (another tokeniser), by their text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from pipeline.aggregates import Grouping, read_groups
from pipeline.compare.path_length import path_lengths
from pipeline.errors import StoreError
from pipeline.store import Moment, Output

GRAPH = """
    g.targets[1].label as target, g.targets[1].weight::double as probability, {correct} as correct,
    g.replacement_score, g.completeness_score, g.kept_nodes as nodes, g.kept_edges as edges
"""

PROMPTS = """
    create table prompts as
    select row_number() over (order by a.prompt_key) as prompt, a.prompt_key as a_key, b.prompt_key as b_key,
        a.id, coalesce(prompt_group, '') as prompt_group
    from a_graphs a
        join b_graphs b using ({on})
        left join groups on groups.prompt_key = a.prompt_key
"""


@dataclass(frozen=True)
class PairedSweep:
    """One of the two."""

    output: Output
    at: Moment | None = None
    """Its published version or a date; None for what is committed now."""

    @property
    def dictionary(self) -> dict[str, str]:
        """Fingerprint of its transcoders, wherever they lie."""
        recorded = self.output.claimed().run.get("transcoders", {})
        return {key: value for key, value in recorded.items() if key != "name"}

    @property
    def dtype(self) -> str:
        """The precision it was traced in."""
        return self.output.claimed().run.get("dtype", "float32")

    @property
    def columns(self) -> list[str]:
        """Columns of its `graphs`."""
        return self.output.schemas["graphs"].names


@dataclass(frozen=True)
class SweepPair:
    """Two sweeps in one DuckDB: views `a_graphs`, `b_graphs` and so on, and the table `prompts`."""

    a: PairedSweep
    b: PairedSweep
    connection: duckdb.DuckDBPyConnection
    aligned: bool
    """True if shared prompts have the same tokens, so that positions can be compared."""

    shared: int
    """Prompts that both have."""

    only_a: int
    only_b: int

    def settings(self) -> list[tuple[str, str, str]]:
        """Return the settings that differ: the name, and the value in A and in B."""
        a, b = (_flat(side.output.claimed().run) for side in (self.a, self.b))
        names = [*a, *(name for name in b if name not in a)]
        both = ((name, a.get(name, "not set"), b.get(name, "not set")) for name in names)
        return [(name, one, other) for name, one, other in both if one != other]

    @property
    def same_dictionary(self) -> bool:
        """True if a feature's index means the same in both."""
        return self.a.dictionary == self.b.dictionary

    def sql(self, question: str, **values: object) -> pa.Table:
        """Ask both."""
        return self.connection.sql(question, params=values).to_arrow_table()

    def described(self, answer: str | None) -> pa.Table:
        """Each shared prompt with what both say of it: target, scores, sizes, path length."""
        for side in "ab":
            self.connection.register(f"{side}_lengths", self._lengths(side))
        sides = [self._described(side, answer) for side in "ab"]
        columns = ", ".join(sql for sql, _ in sides)
        joins = " ".join(join for _, join in sides)
        return self.sql(f"select prompt, id, prompt_group, {columns} from prompts {joins} order by prompt")

    def _described(self, side: str, answer: str | None) -> tuple[str, str]:
        known = answer is not None and answer in (self.a if side == "a" else self.b).columns
        correct = f'trim(g.targets[1].label) = trim(g."{answer}")' if known else "null::boolean"
        parts = [part.strip() for part in GRAPH.format(correct=correct).split(",\n")]
        names = [
            "target",
            "probability",
            "correct",
            "replacement_score",
            "completeness_score",
            "nodes",
            "edges",
        ]
        inner = f"select g.prompt_key, {', '.join(parts)} from {side}_graphs g"
        columns = [f"{side}_rows.{name} as {name}_{side}" for name in names]
        columns.append(f"{side}_lengths.path_length as path_length_{side}")
        join = f"join ({inner}) {side}_rows on {side}_rows.prompt_key = {side}_key "
        return ", ".join(columns), f"{join} left join {side}_lengths using (prompt)"

    def _lengths(self, side: str) -> pa.Table:
        """The mean path length of each shared prompt."""
        # One number for each node of a layer and position; targets lie above all, or beside their feature.
        number = "coalesce(-2 - target_index, target_feature)"
        rows = self.sql(
            "select prompt, coalesce(source_layer, -1) as source_layer, source_position, "
            "coalesce(source_feature, source_token_id, -1) as source_feature, target_layer, target_position, "
            f"{number} as target_feature, target_kind = 'logit' as at_logit, weight, influence "
            f"from {side}_edges e join prompts on e.prompt_key = {side}_key"
        )
        columns = {name: rows[name].to_numpy() for name in rows.column_names}
        prompts, lengths = path_lengths(columns)
        return pa.table({"prompt": pa.array(prompts.astype(np.int64)), "path_length": pa.array(lengths)})


def open_pair(a: PairedSweep, b: PairedSweep, by: str | None = None) -> SweepPair:
    """Put two sweeps side by side.

    Args:
        a: the first.
        b: the second.
        by: column of A's `graphs`, or an SQL expression over them, that groups the prompts.

    Raises:
        StoreError: one of them is no sweep, or they share no prompt.
        ConfigurationError: A's prompts cannot be grouped so.

    """
    for side in (a, b):
        side.output.claimed()
    connection = duckdb.connect(config={"threads": 2})
    for name, side in (("a", a), ("b", b)):
        snapshot = side.output.snapshot(side.at)
        for table in ("graphs", "nodes", "edges", "activations"):
            connection.register(f"{name}_{table}", snapshot.dataset(table))
    groups = read_groups(a.output.snapshot(a.at), Grouping(by))
    connection.register("groups", groups.rows.select(["prompt_key", "prompt_group"]))
    aligned = bool(_count(connection, "a_graphs join b_graphs using (prompt_key)"))
    on = "prompt_key" if aligned else "text"
    connection.execute(PROMPTS.format(on=on))
    shared = _count(connection, "prompts")
    if not shared:
        raise StoreError(
            f"{a.output.url} and {b.output.url} share no prompt, neither by tokens nor by text: there is "
            "nothing to compare. Run both on the same prompts."
        )
    only = [_count(connection, f"{x}_graphs anti join {y}_graphs using ({on})") for x, y in ("ab", "ba")]
    return SweepPair(a, b, connection, aligned, shared, *only)


def _count(connection: duckdb.DuckDBPyConnection, source: str) -> int:
    return connection.execute(f"select count(*) from {source}").fetchall()[0][0]


def _flat(run: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a configuration's values as JSON, by dotted names."""
    flat: dict[str, str] = {}
    for name, value in run.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = json.dumps(value)
    return flat
