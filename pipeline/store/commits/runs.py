"""Reports of starts: `_runs/<time>.json`, one for each time that a sweep was started, never changed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Protocol

from pydantic import BaseModel, ValidationError

from pipeline.store.files import DataFolder
from pipeline.store.layout import RUNS, report_name

logger = logging.getLogger(__name__)


class Report(Protocol):
    """A dataclass that knows when its start began."""

    started: datetime


def write_report(folder: DataFolder, report: Report) -> None:
    """Keep the report of a start, whole or not at all.

    Raises:
        StoreError: it cannot be written.

    """
    folder.create(report_name(report.started), json.dumps(asdict(report), indent=2, default=str).encode())


class StoredReport(BaseModel):
    """Entries of a report that are read again."""

    state: str | None = None
    error: str | None = None
    notes: list[str] = []
    counts: dict[str, int | None] = {}
    repeated_keys: dict[str, int] = {}
    failed: dict[str, str] = {}


def read_reports(folder: DataFolder) -> Iterator[StoredReport]:
    """Yield the reports that can be read, the newest first.

    They are kept for people, and nothing that counts rests on them: one that was cut short is passed over.
    """
    for name in report_names(folder):
        data = folder.read_if_there(name)
        try:
            report = StoredReport.model_validate_json(data or b"")
        except ValidationError:
            logger.warning("%s/%s is no report that can be read, and is passed over", folder.url, name)
        else:
            yield report


def report_names(folder: DataFolder) -> list[str]:
    """The files of all reports, the newest first."""
    return sorted((entry.name for entry in folder.list(RUNS) if entry.name.endswith(".json")), reverse=True)


def key_of_repeated(folder: DataFolder, prompt_id: str) -> int | None:
    """The key of a prompt that has no rows because another one has its tokens, where a report names it."""
    found = (report.repeated_keys.get(prompt_id) for report in read_reports(folder))
    return next((key for key in found if key is not None), None)
