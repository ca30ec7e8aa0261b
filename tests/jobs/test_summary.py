from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from jobs._summary import print_summary
from pipeline.runtime import Counts, RunReport
from pipeline.store import Output


def test_ids_that_prompts_share_are_named(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ids = {f"q{i}": 2 for i in range(9)}
    report = RunReport("finished", now, now, Counts(read=18, same_id=9), 1, {}, {}, ids)
    page = io.StringIO()
    print_summary(Console(file=page, width=200), Output(str(tmp_path)), report, "circuit-sweep")
    (line,) = [line for line in page.getvalue().splitlines() if line.startswith("same id")]
    assert "9 with" in line
    assert "q0 (2 prompts)" in line
    assert "q5" not in line


def test_a_sweep_in_which_all_failed_is_not_asked(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    report = RunReport("finished", now, now, Counts(read=0), 1, {}, {})
    page = io.StringIO()
    print_summary(Console(file=page, width=200), Output(str(tmp_path)), report, "circuit-sweep")
    assert "No prompt has a graph" in page.getvalue()
    assert "select" not in page.getvalue()
