"""The rows of whole prompts against each other: every key once, every reference to something that is there.

Each check is a question to DuckDB that answers with prompts and a number; no row, no problem. Its tables are
those of a shard, or of a range of prompts, so that memory holds no more than these.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from functools import cache, partial

import duckdb
import pyarrow as pa

from pipeline.store.database import open_database
from schemas import NODE_COLUMNS, Table

COUNTS = {"nodes": "kept_nodes", "edges": "kept_edges", "activations": "active_features"}
"""Columns of `graphs` that count a prompt's rows in another table."""

LISTED = 3
"""Prompts that a problem names."""

_database = cache(partial(open_database, {"threads": 1}))
"""Database that all threads ask, with a cursor each, which alone sees what is registered with it.

It has no threads of its own: shards are checked side by side. (Two threads that ask first at once get two.)
"""

_open = threading.local()


def row_problems(kinds: Mapping[str, Table], tables: Mapping[str, pa.Table]) -> Iterator[tuple[str, str]]:
    """Faults in the rows of whole prompts, each with its table.

    Args:
        kinds: the output's tables; the first holds a row for each prompt that is done.
        tables: their rows.

    """
    connection = _connection()
    for name, rows in tables.items():
        connection.register(name, rows)
    try:
        for table, what, question in _checks(kinds):
            bad = connection.execute(f"{question} order by all").fetchall()
            if bad:
                yield table, _sentence(what, bad)
    finally:
        for name in tables:
            connection.unregister(name)


def _connection() -> duckdb.DuckDBPyConnection:
    """One for each thread."""
    if not hasattr(_open, "connection"):
        _open.connection = _database().cursor()
    return _open.connection


def _sentence(what: str, bad: list[tuple[int, int]]) -> str:
    named = ", ".join(str(key) for key, _ in bad[:LISTED])
    more = f" and {len(bad) - LISTED:,} more" if len(bad) > LISTED else ""
    return f"{sum(count for _, count in bad):,} {what} (prompt {named}{more})"


def _checks(kinds: Mapping[str, Table]) -> Iterator[tuple[str, str, str]]:
    """Table, what is wrong, and the question that finds prompts with the number of rows where it is."""
    first = next(iter(kinds))
    for name, table in kinds.items():
        yield name, "rows are there twice", _repeated(name, table)
        if name not in (first, "failures"):
            yield name, f"rows belong to no row of `{first}`", _without(name, first, ("prompt_key",))
    if "failures" in kinds:
        both = f"select prompt_key, count(*) from failures semi join {first} using (prompt_key) group by 1"
        yield "failures", f"prompts are in `{first}` too", both
    if "edges" in kinds:
        yield from _graph_checks()
    if "head_loadings" in kinds:
        ends = [f"{end}_{name}" for end in ("source", "target") for name in NODE_COLUMNS] + ["target_index"]
        same = " and ".join(f"e.{name} is not distinct from s.{name}" for name in ends)
        question = (
            f"with s as (select prompt_key, {', '.join(ends)}, sum(loading) as total, "
            "sum(abs(loading)) as size from head_loadings group by all) "
            "select s.prompt_key, count(*) from s left join edges e "
            f"on e.prompt_key = s.prompt_key and {same} "
            "where not coalesce(abs(total - weight) <= 1e-2 * size, false) group by 1"
        )
        yield "head_loadings", "edges are not the sum of their loadings", question
    if "qk" in kinds:
        head = "prompt_key, head_layer, head, query_at, key_at"
        question = (
            f"with p as (select {head}, part, sum(score) as total, sum(abs(score)) as size from qk "
            f"where part <> 'score' group by all), s as (select {head}, score from qk where part = 'score') "
            "select p.prompt_key, count(distinct (head_layer, head, query_at, key_at)) "
            f"from p left join s using ({head}) "
            "where not coalesce(abs(total - score) <= 1e-2 * size, false) group by 1"
        )
        yield "qk", "scores are not the sum of their parts", question
    if "reconstruction" in kinds:
        question = (
            "select prompt_key, abs(g.active_features - coalesce(n, 0))::bigint from graphs g left join "
            "(select prompt_key, sum(active_features) as n from reconstruction group by 1) "
            "using (prompt_key) where g.active_features <> coalesce(n, 0)"
        )
        yield "reconstruction", "features are too few or too many for `graphs.active_features`", question


def _graph_checks() -> Iterator[tuple[str, str, str]]:
    for table, column in COUNTS.items():
        question = (
            f"select prompt_key, abs({column} - coalesce(n, 0)) from graphs left join "
            f"(select prompt_key, count(*) as n from {table} group by 1) using (prompt_key) "
            f"where {column} <> coalesce(n, 0)"
        )
        yield table, f"rows are too few or too many for `graphs.{column}`", question
    for end in ("source", "target"):
        same = [f"n.{name} is not distinct from e.{end}_{name}" for name in NODE_COLUMNS]
        if end == "target":
            same.append("n.target_index is not distinct from e.target_index")
        match = " and ".join(same)
        question = (
            "select e.prompt_key, count(*) from edges e anti join nodes n "
            f"on n.prompt_key = e.prompt_key and {match} group by 1"
        )
        yield "edges", f"edges have a {end} that is not among their prompt's nodes", question
    features = "(select * from nodes where kind = 'feature')"
    question = _without(features, "activations", ("prompt_key", "layer", "position", "feature"))
    yield "nodes", "features are not among their prompt's activations", question


def _repeated(name: str, table: Table) -> str:
    repeated = f"select prompt_key, count(*) - 1 as n from {name} group by {_all('prompt_key', *table.key)}"
    return f"select prompt_key, sum(n)::bigint from ({repeated} having n > 0) group by 1"


def _without(rows: str, others: str, columns: tuple[str, ...]) -> str:
    return f"select prompt_key, count(*) from {rows} anti join {others} using ({_all(*columns)}) group by 1"


def _all(*columns: str) -> str:
    return ", ".join(dict.fromkeys(columns))
