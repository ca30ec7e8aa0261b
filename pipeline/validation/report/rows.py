"""The same reports as rows, for programs."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline.validation.report.groups import GroupReport, Measured, Median


def as_rows(reports: list[GroupReport]) -> pa.Table:
    """Return one row for each group and measure, its competitors beside it, then what influence adds."""
    rows = []
    for report in reports:
        about = {
            "prompt_group": report.group,
            "graphs": report.graphs,
            "at_stake": report.at_stake,
            "necessary": report.necessary,
        }
        for measured in (*report.measured, *report.ranks):
            rows.append(about | {"measure": measured.measure.column} | _measured_columns(measured))
        for gain in report.gains:
            for name, median in (("difference", gain.difference), ("partial", gain.partial)):
                rows.append(about | {"measure": f"{name} beside {gain.name}"} | _columns("", median))
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])


def _measured_columns(measured: Measured) -> dict[str, Any]:
    row = _columns("", measured.circuits)
    for end, compared in measured.competitors.items():
        row |= _columns(f"{end}_", compared.median) | _columns(f"less_{end}_", compared.difference)
    return row


def _columns(prefix: str, median: Median | None) -> dict[str, float | None]:
    values = (None, None, None) if median is None else (median.value, median.low, median.high)
    return dict(zip((f"{prefix}median", f"{prefix}low", f"{prefix}high"), values, strict=True))
