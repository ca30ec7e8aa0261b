"""Reports of starts: `_runs/<time>.json`, one for each time that a sweep was started, never changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any, Protocol

from pipeline.store.files import DataFolder
from pipeline.store.layout import RUNS, report_name


class Report(Protocol):
    """A dataclass that knows when its start began."""

    started: datetime


def write_report(folder: DataFolder, report: Report) -> None:
    """Keep the report of a start."""
    folder.write(report_name(report.started), json.dumps(asdict(report), indent=2, default=str).encode())


def read_reports(folder: DataFolder) -> Iterator[dict[str, Any]]:
    """All reports, the newest first."""
    return (json.loads(folder.read(name)) for name in report_names(folder))


def report_names(folder: DataFolder) -> list[str]:
    """The files of all reports, the newest first."""
    return sorted((entry.name for entry in folder.list(RUNS) if entry.name.endswith(".json")), reverse=True)


def key_of_repeated(folder: DataFolder, prompt_id: str) -> int | None:
    """The key of a prompt that has no rows because another one has its tokens, where a report names it."""
    found = (report.get("repeated_keys", {}).get(prompt_id) for report in read_reports(folder))
    return next((key for key in found if key is not None), None)
