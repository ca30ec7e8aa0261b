"""Validations of a whole sweep on a real Ray: what is tested, skipped, refused; what survives a death."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from safetensors.torch import load_file, save_file

from jobs.validate import main
from pipeline.errors import ConfigurationError, QueryError, StoreError
from pipeline.results.results import Results
from pipeline.runtime.config import WorkersConfig
from pipeline.runtime.shards.counts import Counts
from pipeline.runtime.telemetry.progress import Progress
from pipeline.store.output import Output
from pipeline.validation.config import ValidationConfig
from pipeline.validation.output import ValidationOutput
from pipeline.validation.report import disagreements, group_reports, read_faithfulness, sentences
from pipeline.validation.stored_circuits import StoredGraphs, is_chosen, read_partners
from pipeline.validation.validate import validate, validate_sweep, validation_work
from schemas import VALIDATION_TABLES
from tests.support.misbehaving_validations import DiesOnce

QUICK = ValidationConfig(ablations=6, sources=2, draws=20)
ONE = WorkersConfig(replicas=1)
MEASURED = ("seconds", "created", "run_key")


def _validate(url: str, address: str | None, config: ValidationConfig = QUICK):
    return validate_sweep(url, config, Progress(Console(quiet=True)), ONE, address)


def _rows(url: str) -> dict[str, list[dict[str, Any]]]:
    output = ValidationOutput(url)
    tables = {name: output.dataset(name).to_table() for name in VALIDATION_TABLES}
    return {
        name: sorted(
            table.drop_columns([c for c in MEASURED if c in table.column_names]).to_pylist(), key=repr
        )
        for name, table in tables.items()
    }


def _tested(url: str) -> dict[tuple, float | None]:
    """What was drawn, with what came of it: sums in float32 may differ in the last bits between processes."""
    named = ("prompt_key", "mode", "test", "number", "layer", "position", "feature", "features")
    rows = _rows(url)["validations"]
    return {tuple(row[name] for name in named): row["log_probability"] for row in rows}


def test_every_graph_is_tested_once_and_stands_beside_the_sweep(swept, address, capsys):
    report = _validate(swept.output, address)
    assert report.counts == Counts(read=10, done=10)
    again = _validate(swept.output, "ray://nowhere:1")  # no cluster is asked for
    assert again.counts == Counts(read=10, already_done=10)
    with pytest.raises(StoreError, match="share"):
        _validate(swept.output, None, QUICK.model_copy(update={"share": 0.5}))  # another configuration

    tables = _rows(swept.output)
    assert [len(tables["faithfulness"]), len(tables["failures"])] == [10, 0]
    joined = Results(swept.output).sql(
        "select id from faithfulness join graphs using (prompt_key, active_features, id)"
    )
    assert len(joined.fetchall()) == 10
    for row in tables["faithfulness"]:
        assert row["draws"] == 20
        assert 1 <= row["necessity_rank"] <= 21
    # The sweep's own tables and orphans are not touched.
    assert Output(swept.output).delete_orphans(older_than=2e9) == []
    assert len(_rows(swept.output)["validations"]) == len(tables["validations"])
    assert list((Path(swept.output) / "validation" / "faithfulness" / "_delta_log").glob("*.json"))

    _check_report(ValidationOutput(swept.output))
    assert main([swept.output, "--report"]) == 0
    printed = capsys.readouterr().out
    assert "f0" in printed
    assert "f1" in printed
    assert "completeness of at least" in printed
    listed = ("  q",)  # prompts, which are not cut
    assert max(len(line.rstrip()) for line in printed.splitlines() if not line.startswith(listed)) <= 80
    assert "…" not in printed
    assert main([swept.output, "--report", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 3 * (7 + 4 + 2 * 4)
    assert {row["prompt_group"] for row in rows} == {"f0", "f1", "all"}


def test_partners_share_a_value_and_have_each_others_answers(finished):
    source = Output(finished.output)
    assert read_partners(source, None) == {}  # no column `pair`
    assert read_partners(source, "family") == {}  # five share each value: nobody is the partner
    rows = source.dataset("graphs").to_table(columns=["prompt_key", "targets", "positions"]).to_pylist()
    first = {row["prompt_key"]: row["targets"][0]["token_ids"][0] for row in rows}
    of_pairs = read_partners(source, "positions")
    by_length: dict[int, list[int]] = {}
    for row in rows:
        by_length.setdefault(row["positions"], []).append(row["prompt_key"])
    pairs = [keys for keys in by_length.values() if len(keys) == 2]
    assert of_pairs == {a: first[b] for one, two in pairs for a, b in ((one, two), (two, one))}
    with pytest.raises(ConfigurationError, match=r"--pair is 'nonsense'.*family"):
        validate_sweep(finished.output, ValidationConfig(pair="nonsense"), Progress(Console(quiet=True)), ONE)


def test_what_is_not_validated_yet_says_so(finished):
    with pytest.raises(ConfigurationError, match=rf"circuit-sweep validate {finished.output}"):
        main([finished.output, "--report"])
    with pytest.raises(QueryError, match=r"not validated yet.*circuit-sweep validate"):
        Results(finished.output).sql("select * from faithfulness")
    with pytest.raises(QueryError, match=r"circuit-sweep aggregate .* --of pairs"):
        Results(finished.output).sql("select * from graphs join feature_pairs on true")
    with pytest.raises(QueryError, match="nowhere"):
        Results(finished.output).sql("select * from nowhere")


def _check_report(output: ValidationOutput) -> None:
    verdicts = read_faithfulness(output, None)
    reports = group_reports(verdicts)
    assert [report.group for report in reports] == ["f0", "f1", "all"]
    assert [report.graphs for report in reports] == [5, 5, 10]
    found = {graph.id for graph in disagreements(verdicts)}
    expected = {
        row["id"]
        for row in verdicts.to_pylist()
        if row["is_at_stake"] and row["completeness_score"] >= 0.9 and row["necessity_q"] > 0.05
    }
    assert found == expected
    for report in reports:
        assert all(set(m.competitors) == {"null", "active_null", "by_norm", "worst"} for m in report.measured)
        assert any("shown to be necessary" in sentence for sentence in sentences(report))
    with pytest.raises(ConfigurationError, match="nonsense"):
        read_faithfulness(output, "nonsense")


@pytest.mark.faults
def test_a_worker_that_dies_costs_nothing_but_time(swept, address):
    dies = DiesOnce(**vars(validation_work(swept.output, QUICK)))
    report = validate(dies, Progress(Console(quiet=True)), ONE, address)
    assert (report.counts.done, report.counts.failed) == (10, 0)
    assert any("a worker died" in note for note in report.notes)
    disturbed = _tested(swept.output)
    (stored,) = (Path(swept.output) / "validation" / "_runs").glob("*.json")
    assert json.loads(stored.read_text())["counts"]["done"] == 10

    for path in (Path(swept.output) / "validation").rglob("*"):
        if path.is_file():
            path.unlink()
    _validate(swept.output, address)
    again = _tested(swept.output)
    assert again.keys() == disturbed.keys()
    for test, log_probability in disturbed.items():
        assert again[test] == pytest.approx(log_probability, abs=1e-4)


def test_a_share_is_the_same_graphs_each_time(finished):
    def drawn(seed, share):
        return [graph.key for graph in StoredGraphs(Output(finished.output), seed, share)]

    keys = set(drawn(3, 1))
    assert len(keys) == 10
    chosen = drawn(3, 0.5)
    assert 0 < len(chosen) < 10
    assert drawn(3, 0.5) == chosen == [key for key in drawn(3, 0.75) if key in chosen]
    assert drawn(4, 0.5) != chosen


@pytest.mark.slow
def test_a_share_is_tested_and_no_other(swept, address):
    config = QUICK.model_copy(update={"share": 0.5, "seed": 3})
    keys = Output(swept.output).dataset("graphs").to_table()["prompt_key"].to_pylist()
    chosen = {key for key in keys if is_chosen(key, 3, 0.5)}
    assert 0 < len(chosen) < 10
    report = _validate(swept.output, address, config)
    assert report.counts.done == len(chosen)
    assert {row["prompt_key"] for row in _rows(swept.output)["faithfulness"]} == chosen


@pytest.fixture
def changed_weights(tiny):
    """Other weights in the model's file, put back after the test: it is everybody's."""
    file = tiny / "model" / "model.safetensors"
    before = file.read_bytes()
    weights = load_file(file)
    weights["model.norm.weight"] *= 1.5
    try:
        save_file(weights, file, metadata={"format": "pt"})
        yield
    finally:
        file.write_bytes(before)


def test_a_model_that_changed_is_refused(swept, changed_weights):
    with pytest.raises(ConfigurationError, match="changed since the sweep"):
        _validate(swept.output, None)


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(StoreError, match="holds no sweep"):
        _validate(str(tmp_path), None)


@pytest.mark.slow
def test_a_compacted_and_vacuumed_sweep_is_validated_all_the_same(swept, address):
    output = Output(swept.output)
    output.compact(everything=True)
    output.vacuum()
    assert _validate(swept.output, address).counts.done == 10
    validation = ValidationOutput(swept.output)
    before = _rows(swept.output)
    validation.compact(everything=True)
    assert _rows(swept.output) == before
