from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from jobs._summary import print_summary, readable_bytes
from pipeline.runtime import Counts, RunReport
from pipeline.store import Output


def test_a_sweep_in_which_all_failed_is_not_asked(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    report = RunReport("finished", now, now, Counts(read=0), 1, {}, {})
    page = io.StringIO()
    print_summary(Console(file=page, width=200), Output(str(tmp_path)), report, "circuit-sweep")
    assert "No prompt has a graph" in page.getvalue()
    assert "select" not in page.getvalue()


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2e12, "2.0 TB")]
)
def test_bytes_are_written_as_people_read_them(count: float, text: str) -> None:
    assert readable_bytes(count) == text
