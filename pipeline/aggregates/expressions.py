"""SQL expressions that people give, read strictly: one expression, the same value every time.

DuckDB's own parser says what an expression is. Results are kept under its text, so a function whose
value changes between calls (`random()`, `now()`) is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb

from pipeline.errors import ConfigurationError

CLOCKS = {
    *("current_time", "current_timestamp", "localtime", "localtimestamp"),
    *("current_localtime", "current_localtimestamp"),
}
"""Names for the present that DuckDB does not list as functions, or lists as constant."""

UNSTABLE = """
    select distinct function_name from duckdb_functions()
    where stability in ('VOLATILE', 'CONSISTENT_WITHIN_QUERY')
        and function_name <> 'error' -- it never gives a value
"""

MACROS = "select function_name, macro_definition from duckdb_functions() where macro_definition is not null"


def checked_expression(option: str, text: str, columns: Sequence[str]) -> str:
    """Return a column's name, quoted, or an expression in brackets that can be nothing else.

    Raises:
        ConfigurationError: the text is not one expression, or its value can change between calls.

    """
    if text in columns:
        return '"' + text.replace('"', '""') + '"'
    expression = f"(\n{text}\n)"  # on lines of its own: a comment ends with it
    node = _parsed(f"select {expression}")
    if not text.strip() or node is None or _frame(node) != _frame(_parsed("select (1)")):
        raise ConfigurationError(
            f'{option} {text!r} is no single SQL expression; one is, for example, "prediction = answer".'
        )
    if (name := _unstable(node, columns)) is not None:
        raise ConfigurationError(
            f"{option} {text!r} uses {name}, whose value can change from one call to the next: use columns "
            "instead. `hash(id) % 10 = 0`, for example, chooses the same tenth of the prompts every time."
        )
    return expression


def _parsed(sql: str) -> dict[str, Any] | None:
    """Parse a query; None if it is not exactly one."""
    parsed = json.loads(duckdb.execute("select json_serialize_sql($1)", [sql]).fetchall()[0][0])
    return None if parsed["error"] or len(parsed["statements"]) != 1 else parsed["statements"][0]["node"]


def _frame(node: dict[str, Any]) -> dict[str, Any] | None:
    """Return everything of a query but the one expression that it selects; None if there is not one."""
    selected = node.get("select_list", ())
    if len(selected) != 1 or selected[0]["class"] == "STAR":
        return None
    return {key: value for key, value in node.items() if key != "select_list"}


def _unstable(node: dict[str, Any], columns: Sequence[str]) -> str | None:
    """Return the first name used whose value can change between calls, also through DuckDB's macros."""
    unstable = CLOCKS | {name for (name,) in duckdb.execute(UNSTABLE).fetchall()}
    macros: dict[str, list[str]] = {}
    for name, definition in duckdb.execute(MACROS).fetchall():
        macros.setdefault(name, []).append(definition)
    own = {column.lower() for column in columns}

    def is_unstable(name: str, seen: frozenset[str]) -> bool:
        if name in unstable:
            return True
        bodies = [] if name in seen else [_parsed(f"select ({body})") for body in macros.get(name, ())]
        inner = {used for body in bodies if body is not None for used in _names(body, set())}
        return any(is_unstable(used, seen | {name}) for used in inner)

    return next((name for name in _names(node, own) if is_unstable(name, frozenset())), None)


def _names(node: Any, columns: set[str]) -> Iterator[str]:
    """Yield the functions that a parsed query calls, and what it reads that is no column of ours, by name."""
    if isinstance(node, list):
        for child in node:
            yield from _names(child, columns)
    if not isinstance(node, dict):
        return
    if "function_name" in node:
        name = node["function_name"].lower()
        # With one argument, the age is that of today.
        yield "current_date" if name == "age" and len(node["arguments"]) == 1 else name
    if node.get("class") == "COLUMN_REF" and len(node["column_names"]) == 1:
        name = node["column_names"][0].lower()  # `current_date` is written without brackets
        yield from () if name in columns else (name,)
    if node.get("sample"):
        yield "random"  # `using sample`
    for child in node.values():
        yield from _names(child, columns)
