from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from jobs._summary import print_summary
from pipeline.runtime import Counts, RunReport
from pipeline.store import Output
from tests.support.outputs import altered, without_features, write_output


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


@pytest.mark.parametrize("features", [0, 60])
def test_a_dictionary_that_never_fires_is_told(tmp_path: Path, features: int) -> None:
    output = write_output(tmp_path / "out", range(4), ["a"])
    if not features:
        output = altered(output, tmp_path / "silent", without_features)
    now = datetime.now(UTC)
    report = RunReport("finished", now, now, Counts(read=4, done=4), 1, {}, {})
    page = io.StringIO()
    print_summary(Console(file=page, width=200), output, report, "circuit-sweep")
    assert ("circuit-sweep check" in page.getvalue()) == (not features)
