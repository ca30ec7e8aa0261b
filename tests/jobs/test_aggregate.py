"""`circuit-sweep aggregate` on the Ray that `RAY_ADDRESS` names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import polars as pl
import pytest

from jobs.aggregate import main
from pipeline.errors import ConfigurationError, StoreError
from pipeline.results.results import Results
from tests.support.outputs import write_output
from tests.support.planted_supernodes import planted


@pytest.fixture(autouse=True)
def ray_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)


def test_groups_are_aggregated_once_and_tables_lie_in_the_output(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_output(tmp_path / "output", range(12), ["a", "b", None])
    arguments = [str(tmp_path / "output"), "--by", "family", "--min-support", "2"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "8 prompts in 2 groups by family; 4 have no value and are left out" in shown
    assert "NOT significant" in shown
    rows = int(re.search(r"edge_stats: ([\d,]+) rows", shown)[1].replace(",", ""))
    pattern = re.search(r"in (.*/_aggregates/.*)/<table>", shown)[1] + "/edge_stats/*.parquet"
    assert pl.scan_parquet(pattern).select(pl.len()).collect().item() == rows > 0
    assert duckdb.sql(f"select distinct prompt_group from '{pattern}' order by 1").fetchall() == [
        ("a",),
        ("b",),
    ]

    # The same as rows, and of edges: marked, so that no program takes them for discoveries.
    for items, column in (("features", "layer"), ("edges", "source_kind")):
        assert main([*arguments, "--items", items, "--format", "json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert 0 < len(rows) <= 5
        assert all(row["is_significant"] is False and row["q_value"] > 0.05 for row in rows)
        assert column in rows[0]
    assert main([*arguments, "--items", "edges"]) == 0
    assert "NOT significant: the nearest candidates" in capsys.readouterr().out

    monkeypatch.setattr("ray.init", lambda *_, **__: pytest.fail("asked again, it was computed again"))
    assert main(arguments) == 0
    assert capsys.readouterr().out == shown


def test_what_cannot_be_aggregated_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no sweep"):
        main([str(tmp_path)])
    write_output(tmp_path / "output", range(4), ["a"])
    with pytest.raises(ConfigurationError, match="'famly'"):
        main([str(tmp_path / "output"), "--by", "famly"])
    with pytest.raises(ConfigurationError, match="--fdr is 2"):
        main([str(tmp_path / "output"), "--fdr", "2"])


def test_pairs_of_features(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = write_output(tmp_path / "output", range(8), ["a"], features=900)
    assert main([output.url, "--of", "pairs", "--no-weights", "--min-support", "2"]) == 0
    shown = capsys.readouterr().out
    rows = int(re.search(r"feature_pairs: ([\d,]+) rows", shown)[1].replace(",", ""))
    pattern = re.search(r"in (.*/_aggregates/.*)/<table>", shown)[1] + "/feature_pairs/*.parquet"
    assert duckdb.sql(f"select count(*), min(n_coactive) from '{pattern}'").fetchall() == [(rows, 2)]
    layer, feature = duckdb.sql(f"select source_layer, source_feature from '{pattern}' limit 1").fetchall()[0]
    arguments = [output.url, "--of", "pairs", "--no-weights", "--min-support", "2", "--feature"]
    assert main([*arguments, f"{layer}/{feature}"]) == 0
    assert f"neighbours of {layer}/{feature}" in capsys.readouterr().out
    for name, message in (("9/9", "together with no other at 2 positions"), ("x", "such as 2/350")):
        with pytest.raises(ConfigurationError, match=message):
            main([*arguments, name])


def test_supernodes_are_shown_with_their_agreement(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = planted(write_output(tmp_path / "random", range(40), list("abcd")), tmp_path / "output")
    assert main([output.url, "--of", "supernodes", "--by", "family"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "4 of these are stable on the 20 held-out prompts" in shown
    assert re.search(r"2[0-4] features belong to one of 4 groups by themselves, on held-out prompts", shown)
    assert "purity: a 1.00, b 1.00, c 1.00, d 1.00" in shown
    assert re.search(r"features in stable supernodes \d+% \d+%", shown)


def test_a_result_that_is_shown_again_is_the_one_that_queries_see(tmp_path: Path) -> None:
    output = write_output(tmp_path / "output", range(8), ["a", "b"])

    def seen(by: str) -> None:
        assert main([output.url, "--by", by]) == 0
        for table in ("feature_stats", "edge_stats"):
            found = Results(output).sql(f"select distinct grouped_by from {table}").fetchall()
            assert found == [(by,)]

    seen("family")
    seen("positions")
    seen("family")
    seen("positions > 5")


def test_later_labels_and_conditions(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = write_output(tmp_path / "output", range(8), ["a", "b"])
    labels = tmp_path / "labels.csv"
    labels.write_text("id;topic\n" + "".join(f"prompt-{i};{'xy'[i // 4]}\n" for i in range(8)))
    options = ["--labels", str(labels), "--by", "topic", "--where", "family = 'a'", "--min-support", "2"]
    assert main([output.url, *options]) == 0
    assert "4 prompts in 2 groups by topic of labels.csv where family = 'a'" in capsys.readouterr().out
    assert main([output.url, *options, "--fdr", "1", "--format", "csv", "--top", "1"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("prompt_group,layer,feature,")
    assert [row[:2] for row in rows[1:]] == ["x,", "y,"]
    pairs = [output.url, "--of", "pairs", "--no-weights", "--min-support", "1"]
    assert main([*pairs, "--where", "family = 'a'"]) == 0
    few = Results(output).sql("select sum(n_coactive) from feature_pairs").fetchall()
    assert main(pairs) == 0
    assert few < Results(output).sql("select sum(n_coactive) from feature_pairs").fetchall()
    with pytest.raises(ConfigurationError, match="--by 'family'"):
        main([*pairs, "--by", "family"])
