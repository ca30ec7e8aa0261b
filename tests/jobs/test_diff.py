"""`circuit-sweep diff`: the report and the exit code of a nightly check."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.diff import main
from tests.support.outputs import RUN, altered, write_output


def test_the_verdict_and_a_report_that_fits_on_a_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    one = write_output(tmp_path / "a", range(12), [f"group {i}" for i in range(12)])
    altered(one, tmp_path / "same", lambda tables: tables)
    altered(one, tmp_path / "other", lambda tables: tables | {"nodes": tables["nodes"].slice(40)})
    assert main([str(tmp_path / "a"), str(tmp_path / "same")]) == 0
    assert "no feature and no edge differs" in capsys.readouterr().out
    options = ("--by", "family", "--to", str(tmp_path / "diff"))
    assert main([str(tmp_path / "a"), str(tmp_path / "other"), *options]) == 1
    shown = capsys.readouterr().out
    assert "and 4 more groups" in shown
    assert len(shown.splitlines()) <= 40
    assert (tmp_path / "diff" / "diff_features.parquet").exists()


def test_other_dictionaries_are_matched(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    one = write_output(tmp_path / "a", range(12), ["x", "y"], features=900)
    altered(one, tmp_path / "b", lambda tables: tables, RUN | {"transcoders": {"name": "t", "content": "2"}})
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "--by", "family"]) == 0
    shown = capsys.readouterr().out
    assert "different dictionaries" in shown
    assert "shared ones carry" in shown
    assert sorted(line.split()[:2] for line in shown.splitlines()[-2:]) == [["x", "6"], ["y", "6"]]
