"""Two sweeps side by side: what each is, which prompts they share, and one DuckDB over both.

Prompts are shared by the tokens that were traced, whatever was explained of them, or, where no two are alike
(another tokeniser), by their text, of which the graph of the last position is taken. Of several graphs of the
same tokens those with one key belong together (the same targets), the others in the order of their keys.
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
from pipeline.errors import ConfigurationError, StoreError
from pipeline.results import is_correct
from pipeline.store import Moment, Output, open_database

WHOLE_TEXTS = """
    select * from {side}_graphs
    qualify rank() over (partition by sequence_key order by generated_index nulls first, positions desc) = 1
"""
"""The graphs of each text's last position; where the model went on, those of its first token."""


@dataclass(frozen=True)
class PairedSweep:
    """One of the two."""

    output: Output
    at: Moment | None = None
    """Its published version or a date; None for what is committed now."""

    @property
    def dictionary(self) -> dict[str, str]:
        """Fingerprint of its transcoders, without their name: the same files may lie elsewhere."""
        return _without_name(self.output.claimed().run.get("transcoders", {}))

    @property
    def dtype(self) -> str:
        """Precision that it was traced in."""
        return self.output.claimed().run.get("dtype", "float32")

    @property
    def columns(self) -> list[str]:
        """Names of the columns of its `graphs`."""
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
    without_group: int = 0
    """Shared prompts that were left out since they belong to no group."""

    def settings(self) -> list[tuple[str, str, str]]:
        """Return the settings that differ: name, and value in A and in B as JSON."""
        a, b = (_flat(side.output.claimed().run) for side in (self.a, self.b))
        names = [*a, *(name for name in b if name not in a)]
        both = ((name, a.get(name, "not set"), b.get(name, "not set")) for name in names)
        return [(name, one, other) for name, one, other in both if one != other]

    @property
    def same_dictionary(self) -> bool:
        """True if a feature's index means the same in both."""
        return self.a.dictionary == self.b.dictionary

    @property
    def same_model(self) -> bool:
        """True if both were traced with the same model, wherever its files lay."""
        a, b = (_without_name(side.output.claimed().run.get("model", {})) for side in (self.a, self.b))
        return a == b

    def sql(self, question: str, **values: object) -> pa.Table:
        """Ask both with one SQL query; `values` fill its named parameters."""
        return self.connection.sql(question, params=values).to_arrow_table()

    def described(self, answer: str | None) -> pa.Table:
        """Return each shared prompt with what both say of it: target, scores, sizes, path length."""
        for side in "ab":
            self.connection.register(f"{side}_lengths", self._lengths(side))
        return self.sql(f"""
            with a_described as ({self._described("a", answer)}),
                b_described as ({self._described("b", answer)})
            select prompt, id, prompt_group, a.* exclude (prompt), b.* exclude (prompt)
            from prompts join a_described a using (prompt) join b_described b using (prompt) order by prompt
        """)

    def _described(self, side: str, answer: str | None) -> str:
        """SQL of what one side says of each shared prompt, columns named after the side."""
        known = answer is not None and answer in (self.a if side == "a" else self.b).columns
        correct = self._correct(side, answer) if known else "null::boolean"
        return f"""
            select prompts.prompt, g.targets[1].label as target_{side},
                g.targets[1].weight::double as probability_{side}, {correct} as correct_{side},
                g.replacement_score as replacement_score_{side},
                g.completeness_score as completeness_score_{side},
                g.kept_nodes as nodes_{side}, g.kept_edges as edges_{side},
                lengths.path_length as path_length_{side}
            from prompts join {side}_graphs g on g.prompt_key = prompts.{side}_key
                left join {side}_lengths lengths on lengths.prompt = prompts.prompt
        """

    def _correct(self, side: str, answer: str) -> str:
        """SQL that judges the model's own prediction by the answers in a column."""
        sweep = self.a if side == "a" else self.b
        return is_correct(sweep.output.schemas["graphs"].field(answer))

    def _lengths(self, side: str) -> pa.Table:
        """Return the mean path length of each shared prompt."""
        # One number for each node of a layer and position; targets lie above all, or beside their feature.
        number = "coalesce(-2 - e.target_index, e.target_feature)"
        rows = self.sql(f"""
            select prompt, coalesce(source_layer, -1) as source_layer, source_position,
                coalesce(source_feature, source_token_id, -1) as source_feature, target_layer,
                target_position, {number} as target_feature, target_kind = 'logit' as at_logit, weight,
                n.total_input::double as total_input, e.influence
            from {side}_edges e join prompts on e.prompt_key = {side}_key
                join {side}_nodes n on n.prompt_key = e.prompt_key and n.kind = target_kind
                    and n.layer = target_layer and n.position = target_position
                    and n.feature is not distinct from e.target_feature
                    and n.target_index is not distinct from e.target_index
        """)
        columns = {name: rows[name].to_numpy() for name in rows.column_names}
        prompts, lengths = path_lengths(columns)
        return pa.table({"prompt": pa.array(prompts.astype(np.int64)), "path_length": pa.array(lengths)})


def open_pair(
    a: PairedSweep,
    b: PairedSweep,
    by: str | None = None,
    cluster: str | None = None,
    only_grouped: bool = False,
) -> SweepPair:
    """Put two sweeps side by side.

    Args:
        a: the first.
        b: the second.
        by: column of A's `graphs`, or an SQL expression over them, that groups the prompts.
        cluster: the same for clusters of prompts; by default those of the same tokens.
        only_grouped: leave out prompts that belong to no group.

    Raises:
        StoreError: one of them is no sweep, or they share no prompt.
        ConfigurationError: A's prompts cannot be grouped so, or no shared one belongs to a group.

    """
    for side in (a, b):
        side.output.claimed()
    connection = open_database({"threads": 2})
    for name, side in (("a", a), ("b", b)):
        snapshot = side.output.snapshot(side.at)
        for table in ("graphs", "nodes", "edges", "activations"):
            connection.register(f"{name}_{table}", snapshot.dataset(table))
    groups = read_groups(a.output.snapshot(a.at), Grouping(by, cluster=cluster))
    connection.register("groups", groups.rows.select(["prompt_key", "prompt_group", "cluster"]))
    # Another tokeniser gives other tokens to all prompts; then the text is what both sweeps have.
    for on in ("token_ids", "text"):
        connection.execute(f"create or replace table prompts as {_shared_prompts(on)}")
        if shared := _count(connection, "prompts"):
            break
    if not shared:
        raise StoreError(
            f"{a.output.url} and {b.output.url} share no prompt, neither by tokens nor by text: there is "
            "nothing to compare. Run both on the same prompts."
        )
    only = [_count(connection, f"{side}_graphs") - shared for side in "ab"]
    left_out = _leave_out_ungrouped(connection) if only_grouped else 0
    if left_out == shared:
        raise ConfigurationError(
            f"--by {by!r} has no value for any of the {shared:,} prompts that both sweeps have: choose a "
            "column that is filled."
        )
    return SweepPair(a, b, connection, on == "token_ids", shared, *only, left_out)


def _leave_out_ungrouped(connection: duckdb.DuckDBPyConnection) -> int:
    """Drop shared prompts without a group, number the others again, and return how many were dropped."""
    shared = _count(connection, "prompts")
    connection.execute("""
        create or replace table prompts as
        select row_number() over (order by prompt) as prompt, * exclude (prompt)
        from prompts where cluster is not null
    """)
    return shared - _count(connection, "prompts")


def _shared_prompts(on: str) -> str:
    """SQL of the prompts that both have, numbered, with the keys of both and the group that A has them in."""
    return f"""
        with a_rest as ({_numbered("a", "b", on)}), b_rest as ({_numbered("b", "a", on)}), pairs as (
            select a.prompt_key as a_key, b.prompt_key as b_key
            from a_graphs a join b_graphs b using (prompt_key)
            union all
            select a_rest.prompt_key, b_rest.prompt_key
            from a_rest join b_rest on a_rest.traced = b_rest.traced and a_rest.nth = b_rest.nth
        )
        select row_number() over (order by pairs.a_key) as prompt, pairs.a_key, pairs.b_key,
            a.id, coalesce(groups.prompt_group, '') as prompt_group,
            groups.cluster
        from pairs
            join a_graphs a on a.prompt_key = pairs.a_key
            left join groups on groups.prompt_key = pairs.a_key
    """


def _numbered(side: str, other: str, on: str) -> str:
    """SQL of the graphs of one side whose key the other lacks, numbered among those with the same tokens.

    Positions of one text mean nothing to another tokeniser, so by text each text's last one is taken.
    """
    chosen, order = f"{side}_graphs", "g.prompt_key"
    if on == "text":
        chosen, order = f"({WHOLE_TEXTS.format(side=side)})", "g.id, g.prompt_key"
    return f"""
        select g.prompt_key, g.{on} as traced,
            row_number() over (partition by g.{on} order by {order}) as nth
        from {chosen} g anti join {other}_graphs o on g.prompt_key = o.prompt_key
    """


def _count(connection: duckdb.DuckDBPyConnection, source: str) -> int:
    return connection.execute(f"select count(*) from {source}").fetchall()[0][0]


def _without_name(recorded: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in recorded.items() if key != "name"}


def _flat(run: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a configuration's values as JSON, by dotted names."""
    flat: dict[str, str] = {}
    for name, value in run.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = json.dumps(value)
    return flat
