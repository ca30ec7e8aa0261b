"""`circuit-sweep diff`: the report and the exit code of a nightly check."""

from __future__ import annotations

import json
import re
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
    options = ("--by", "family", "--output", str(tmp_path / "diff"))
    assert main([str(tmp_path / "a"), str(tmp_path / "other"), *options]) == 1
    shown = capsys.readouterr().out
    assert "and 4 more groups" in shown
    assert len(shown.splitlines()) <= 40
    assert (tmp_path / "diff" / "diff_features.parquet").exists()
    assert "the settings are the same" in shown
    assert re.search(r"exit code 1: \d+ features differ", shown)
    assert main([str(tmp_path / "a"), str(tmp_path / "other"), *options, "--format", "csv"]) == 1
    assert (tmp_path / "diff" / "diff_features.csv").read_text().startswith("id,")
    capsys.readouterr()
    assert main([str(tmp_path / "a"), str(tmp_path / "same"), "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 12


def test_settings_that_differ_come_first_and_a_subset_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    one = write_output(tmp_path / "a", range(8), ["x", "y"])
    altered(one, tmp_path / "b", lambda tables: tables, RUN | {"graph": {"node_threshold": 0.7}, "seed": 1})
    write_output(tmp_path / "few", range(5), ["x", "y"])
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "--by", "family = 'x'"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[2:5] == [
        "settings that differ (A, then B):",
        "  graph.node_threshold: not set, 0.7",
        "  seed: not set, 1",
    ]
    assert main([str(tmp_path / "a"), str(tmp_path / "few")]) == 1
    assert "exit code 1: 3 prompts of A are not in B" in capsys.readouterr().out


def test_other_dictionaries_are_matched(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    one = write_output(tmp_path / "a", range(12), ["x", "y"], features=900)
    altered(one, tmp_path / "b", lambda tables: tables, RUN | {"transcoders": {"name": "t", "content": "2"}})
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "--by", "family", "--no-run-model"]) == 0
    shown = capsys.readouterr().out
    assert "different dictionaries" in shown
    assert "the share that one would match is not known" in " ".join(shown.split())
    assert "shared ones carry" in shown
    assert sorted(line.split()[:2] for line in shown.splitlines()[-2:]) == [["x", "6"], ["y", "6"]]
