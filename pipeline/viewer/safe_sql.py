"""SQL of whoever looks at the page: one SELECT over the tables, and nothing else.

Three fences. DuckDB's own parser says what a text is: one statement, a SELECT in all its parts (a CTE may
hold an INSERT), naming no file, calling no table function but those listed, and none that waits. The
connection reads no file outside the output and changes no setting (`Results.confine`). And whoever runs it
ends it after a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from pipeline.results import Results
from pipeline.viewer.questions import RefusedError

TABLE_FUNCTIONS = {"range", "generate_series", "unnest", "json_each", "json_tree", "repeat", "summary"}
"""Table functions that only compute."""

WAITING = {"pg_sleep", "sleep_ms", "write_log"}
"""Functions that only wait, or write into DuckDB's log."""

WAY_OUT = "Ask one SELECT over the tables; `circuit-sweep query` runs anything."


def check_query(results: Results, sql: str) -> None:
    """Refuse what is not one SELECT over tables.

    Raises:
        RefusedError: it is something else, or does not parse.

    """
    with _refused():
        statements = results.connection().extract_statements(sql)
    if len(statements) != 1:
        raise RefusedError(f"this is {len(statements)} statements, and one is run at a time.", WAY_OUT)
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = statements[0].type.name
        raise RefusedError(f"this is {kind}, and the page only asks.", WAY_OUT)
    _check_parts(_parsed(results, statements[0].query))


def check_expression(results: Results, where: str) -> None:
    """Refuse a filter that is not one SQL expression over a table's columns.

    Raises:
        RefusedError: it is something else, or does not parse.

    """
    with _refused(where):
        duckdb.SQLExpression(where)
    _check_parts(_parsed(results, f"select 1 from graphs where ({where}\n)"))


def _parsed(results: Results, sql: str) -> Any:
    with _refused():
        answer = results.connection().execute("select json_serialize_sql($1)", [sql]).fetchall()[0][0]
    parsed = json.loads(answer)
    if parsed.get("error"):
        raise RefusedError(f"{parsed.get('error_message', 'it does not parse')}", WAY_OUT)
    return parsed


def _check_parts(parsed: Any) -> None:
    for part in _parts(parsed):
        kind = part.get("type")
        if isinstance(kind, str) and kind.endswith("QUERY_NODE"):
            raise RefusedError("a part of this changes something, and the page only asks.", WAY_OUT)
        if kind == "FUNCTION" and (name := part.get("function_name", "").lower()) in WAITING:
            raise RefusedError(f"{name}(...) does more than compute, so it is not for the page.", WAY_OUT)
        if kind == "BASE_TABLE" and {*"./\\:"} & {*(name := part.get("table_name", ""))}:
            raise RefusedError(f"{name[:60]!r} is a file, and the page reads tables.", WAY_OUT)
        if kind == "TABLE_FUNCTION":
            name = part.get("function", {}).get("function_name", "")
            if name not in TABLE_FUNCTIONS:
                raise RefusedError(
                    f"{name[:60]}(...) does not only compute, so it is not for the page.", WAY_OUT
                )


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as part:
                yield part
                waiting += part.values()
            case list() as items:
                waiting += items


@contextmanager
def _refused(text: str = "") -> Iterator[None]:
    """Turn what DuckDB says about a text into a refusal."""
    try:
        yield
    except duckdb.Error as error:
        raise RefusedError(f"{text[:200]}{': ' if text else ''}{error}", WAY_OUT) from error
