"""`/api/sweep`: the sweep as a whole: its state, its tables and columns, and what can be done here."""

from __future__ import annotations

from shlex import quote
from typing import Any

import pyarrow as pa

from pipeline.results import MADE_BY
from pipeline.version import ENGINE_VERSION
from pipeline.viewer.asked import Asked
from schemas import EVERY_TABLE


def sweep(asked: Asked) -> dict[str, Any]:
    """Return the sweep's name, state, tables, run and versions, and commands for what is missing."""
    results, state = asked.results, asked.state
    run = results.output.claimed().run
    versions = results.versions()
    return {
        "name": results.url.rstrip("/").rpartition("/")[2],
        "url": results.url,
        "state": state.name,
        "at": state.moment,
        "opened": state.opened,
        "graphs": state.graphs,
        "failures": results.dataset("failures").count_rows() if asked.has("failures") else 0,
        "tables": {table: _described(asked, table) for table in results.tables},
        "missing": {
            table: f"circuit-sweep {command.format(url=quote(results.url))}"
            for table, command in MADE_BY.items()
            if not asked.has(table) and not command.startswith("diff")
        },
        "is_compacted": bool(results.snapshot.projections),
        "compact": f"circuit-sweep compact {quote(results.url)}",
        "versions": [{"number": number, "written": written} for number, written in versions.items()],
        "run": run,
        "model": run.get("model", {}).get("name"),
        "transcoders": run.get("transcoders", {}).get("name"),
        "extra_columns": asked.extra_columns,
        "has_answers": "answer" in asked.extra_columns,
        "can": asked.viewer.abilities(),
        "diff": None if asked.viewer.other is None else asked.viewer.other.url,
        "engine_version": ENGINE_VERSION,
    }


def _described(asked: Asked, table: str) -> dict[str, Any]:
    dataset = asked.results.dataset(table)
    known = EVERY_TABLE[table].schema if table in EVERY_TABLE else dataset.schema
    return {
        "rows": dataset.count_rows(),
        "columns": [_column(field, known) for field in dataset.schema],
    }


def _column(field: pa.Field, known: pa.Schema) -> dict[str, Any]:
    index = known.get_field_index(field.name)
    metadata = (known.field(index).metadata if index >= 0 else field.metadata) or {}
    return {
        "name": field.name,
        "type": str(field.type),
        "meaning": metadata.get(b"meaning", b"").decode(),
        "unit": metadata.get(b"unit", b"").decode(),
    }
