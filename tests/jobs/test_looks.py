"""`show` says why heads look where they do, where a sweep asked for it."""

from __future__ import annotations

import pytest

from jobs import show
from pipeline.results import Results, read_graph
from tests.support.outputs import write_output


def test_show_prints_scores_with_the_pairs_behind_them(tmp_path, capsys: pytest.CaptureFixture) -> None:
    output = write_output(tmp_path / "out", range(4), ["a"])
    assert show.main([output.url, "--prompt", "prompt-1"]) == 0
    printed = capsys.readouterr().out
    assert "because of" in printed
    assert "1.50" in printed
    assert "+0.75" in printed
    graph = read_graph(Results(output), "prompt-1")
    ((whole, *parts),) = graph.looks(5)
    assert whole["part"] == "score"
    assert sum(row["score"] for row in parts) == pytest.approx(3 * whole["score"])


def test_graphs_without_scores_print_none(tmp_path, capsys: pytest.CaptureFixture) -> None:
    output = write_output(tmp_path / "out", range(4), ["a"], qk=None)
    assert show.main([output.url, "--prompt", "prompt-1"]) == 0
    assert "because of" not in capsys.readouterr().out
    assert read_graph(Results(output), "prompt-1").looks(5) == []
