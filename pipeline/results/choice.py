"""The projection of a table that answers a query: the one sorted by what the query filters on.

The query is planned over empty tables of the same names, which takes a millisecond and touches no file; the
plan says which filters reach which table, whatever way they were written (joins, CTEs, views, subqueries). A
projection is taken where a filter on its feature column reaches its table and none on
`prompt_key` does. What cannot be planned (several statements, tables of the user's own) is answered from
prompt order, which is always right.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping

import duckdb
import pyarrow as pa

from pipeline.store import open_database
from pipeline.store.compaction import PROJECTIONS, projections_of

NOT_VALUES = re.compile(r"'(?:[^']|'')*'|\w+ IS NOT NULL")
"""Parts of a filter that name no column to look values up in."""


class ProjectionChoice:
    """Choice of the projection that suits a query, by the columns that its plan filters on."""

    def __init__(self, schemas: Mapping[str, pa.Schema]) -> None:
        self.planner = open_database()
        for table, schema in schemas.items():
            self.planner.register("rows", schema.empty_table())
            self.planner.execute(f'create table "{table}" as select * from rows')
            self.planner.unregister("rows")
        # It would see that the tables are empty, and then there is nothing left to plan.
        self.planner.execute("set disabled_optimizers = 'statistics_propagation'")

    def choose(self, sql: str, available: Collection[str]) -> dict[str, str]:
        """Return the projection to read, for each table that has a better order than by prompt."""
        projected = {projection.table for projection in map(PROJECTIONS.get, available) if projection}
        if not any(re.search(rf"\b{table}\b", sql, re.IGNORECASE) for table in projected):
            return {}  # planning takes a millisecond
        filters = self._filters(sql)
        chosen = {}
        for table in {table for table, _ in filters}:
            reaching = [text for name, text in filters if name == table]
            uses = Counter(
                projection.name
                for projection in projections_of(table)
                for text in reaching
                if projection.name in available and re.search(rf"\b{projection.feature}\b", text)
            )
            if uses and not any("prompt_key" in text for text in reaching):
                chosen[table] = uses.most_common(1)[0][0]
        return chosen

    def _filters(self, sql: str) -> list[tuple[str, str]]:
        """Return, for each table that the query reads, the filters that reach it."""
        try:
            statements = self.planner.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                return []
            plan = self.planner.execute(f"explain (format json) {statements[0].query}").fetchall()[0][1]
        except duckdb.Error:
            return []
        return [scan for root in json.loads(plan) for scan in _scans(root)]


def _scans(operator: dict) -> Iterator[tuple[str, str]]:
    info = operator.get("extra_info", {})
    if table := info.get("Table"):
        filters = info.get("Filters") or ""
        text = filters if isinstance(filters, str) else " and ".join(filters)
        yield table.rpartition(".")[2], NOT_VALUES.sub("", text)
    for child in operator.get("children", []):
        yield from _scans(child)
