"""POST `/api/sql`: one SELECT over the tables, a thousand rows of its answer."""

from __future__ import annotations

from typing import Any

from pipeline.readable import readable_bytes
from pipeline.results import explained
from pipeline.viewer.asked import Asked
from pipeline.viewer.questions import RefusedError
from pipeline.viewer.safe_sql import check_query

ROWS = 1000

ANSWER_BYTES = 32 << 20
"""Most bytes of an answer's columns; as text for the page they are several times as many."""

CELL = 10_000
"""Most characters of a cell that is text."""


def sql(asked: Asked) -> dict[str, Any]:
    """Return the answer's columns and first rows, and say if there are more."""
    query = asked.question.body.get("sql")
    if not isinstance(query, str) or not query.strip():
        raise RefusedError('there is no query: send {"sql": "select ..."}.')
    check_query(asked.results, query)
    with explained():
        answer = asked.results.sql(query)
        types = [str(kind) for kind in answer.types]
        names = list(answer.columns)
        table = answer.limit(ROWS + 1).to_arrow_table()
    if table.nbytes > ANSWER_BYTES:
        raise RefusedError(
            f"the first {ROWS:,} rows have {readable_bytes(table.nbytes)}, more than a page shows.",
            "Ask for fewer or shorter columns, or ask `circuit-sweep query`.",
        )
    columns = [column.slice(0, ROWS).to_pylist() for column in table.columns]
    return {
        "columns": [{"name": name, "type": kind} for name, kind in zip(names, types, strict=True)],
        "rows": [[_cell(value) for value in row] for row in zip(*columns, strict=True)],
        "truncated": table.num_rows > ROWS,
    }


def _cell(value: Any) -> Any:
    return f"{value[:CELL]}…" if isinstance(value, str) and len(value) > CELL else value
