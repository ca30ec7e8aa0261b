"""Whole sweeps on a real Ray: what is committed, what is skipped, what survives the death of its parts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.cluster_utils import Cluster
from safetensors.torch import load_file, save_file

from pipeline import ReplacementModel
from pipeline.aggregates.aggregate import run_aggregate
from pipeline.aggregates.coactivation.coactivation import Coactivation
from pipeline.aggregates.coactivation.virtual_weights import weigh_pairs
from pipeline.aggregates.groups import Grouping
from pipeline.errors import CircuitSweepError, StoreError, TranscoderError
from pipeline.runtime.shards.counts import Counts
from pipeline.runtime.telemetry.progress import Progress
from pipeline.runtime.telemetry.run_report import RunReport
from pipeline.store.output import Output
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.run import run_sweep
from pipeline.sweep_model import recorded_model
from tests.support.misbehaving_engines import DiesLoading, Killed, RefusesToLoad, Slow
from tests.support.sweeps import (
    Make,
    prompts,
    quiet,
    rows,
    start_driver,
    sweep_with,
    wait_for,
)
from tests.support.tiny_model import WORDS, sentence, tiny_config


@pytest.fixture
def undisturbed(make_config: Make, tmp_path: Path, address: str) -> Callable[[list[dict[str, Any]]], Any]:
    """Return the rows that a sweep gives when nothing goes wrong."""

    def run(data: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        config = make_config(data, output=str(tmp_path / "undisturbed"))
        run_sweep(config, quiet(), address)
        return rows(config)

    return run


STRIKE = {"id": "strike", "prompt": "w26 w1 w2", "family": "f9", "answer": "w5"}
"""A prompt like any other, but for the engine that it kills once."""

OTHER = {"id": "other", "prompt": sentence(3), "family": "f0", "answer": "w6"}
"""The text of another prompt, and other work."""

GOOD = [*prompts(9), OTHER, STRIKE]
BAD = [
    {"id": "empty", "prompt": " ", "answer": "w5"},
    {"id": "unknown", "prompt": "not in it", "answer": "w5"},
    {"id": "long", "prompt": sentence(5, 30), "answer": "w5"},
    {"id": "single", "prompt": "<bos>", "answer": "w5"},
    {"id": "again", "prompt": sentence(3), "answer": "w5"},
    {"id": "nan", "prompt": "w25 w1", "answer": "w5"},
    {"id": "several", "prompt": sentence(3), "answer": "w5 w6"},
    {"id": "none", "prompt": sentence(3), "answer": None},
]
TARGETS = {"targets": {"column": "answer"}}
CHOICES = {"prompts": {"columns": ["family"]}, "attribution": TARGETS}


@pytest.fixture(scope="module")
def tiny(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny model in which one word is not a number."""
    folder = shutil.copytree(tiny, tmp_path_factory.mktemp("tiny") / "files")
    file = folder / "model" / "model.safetensors"
    weights = load_file(file)
    weights["model.embed_tokens.weight"][WORDS.index("w25")] = torch.nan
    save_file(weights, file, metadata={"format": "pt"})
    return folder


@dataclass(frozen=True)
class Swept:
    """A finished sweep that no test may write to."""

    config: SweepConfig
    report: RunReport


@pytest.fixture(scope="module")
def swept(tiny: Path, address: str, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """A sweep over `GOOD` and `BAD` in which nothing went wrong."""
    config = tiny_config(tiny, [*GOOD, *BAD], tmp_path_factory.mktemp("swept"), **CHOICES)
    return Swept(config, run_sweep(config, quiet(), address))


@pytest.fixture
def copied(swept: Swept, tiny: Path, tmp_path: Path) -> Make:
    """Return a maker of sweeps that go on in a copy of the finished one."""
    shutil.copytree(swept.config.output, tmp_path / "output")
    return lambda rows: tiny_config(tiny, rows, tmp_path, **CHOICES)


def test_every_prompt_becomes_a_graph_or_a_failure(swept: Swept) -> None:
    config, report = swept.config, swept.report
    assert report.counts == Counts(total=19, read=19, done=11, failed=7, repeated=1)
    assert list(report.repeated_keys) == ["again"]
    tables = rows(config)
    assert {row["id"]: row["family"] for row in tables["graphs"]} == {p["id"]: p["family"] for p in GOOD}
    assert {row["id"]: row["text"] for row in tables["graphs"]}["q3"] == sentence(3)
    assert {row["id"]: row["stage"] for row in tables["failures"]} == dict.fromkeys(
        ("empty", "unknown", "long", "single"), "tokenize"
    ) | {"nan": "attribution", "several": "targets", "none": "targets"}
    messages = {row["id"]: row["message"] for row in tables["failures"]}
    assert "not a finite number" in messages["nan"]
    assert "'w5 w6' is 2 tokens" in messages["several"]
    labels = {row["id"]: [target["label"] for target in row["targets"]] for row in tables["graphs"]}
    assert labels == {row["id"]: [row["answer"]] for row in GOOD}
    assert len(tables["edges"]) == sum(row["kept_edges"] for row in tables["graphs"]) > 100
    assert len(tables["activations"]) == sum(row["active_features"] for row in tables["graphs"])
    assert not list(Path(config.output).glob("*/.*"))
    (stored,) = (Path(config.output) / "_runs").glob("*.json")
    assert (
        json.loads(stored.read_text())["run_key"] == report.run_key == Output(config.output).claimed().run_key
    )


def test_a_second_start_finds_nothing_to_do(copied: Make) -> None:
    config = copied([*GOOD, *BAD])
    before = {path: path.stat().st_mtime_ns for path in Path(config.output).rglob("*.parquet")}
    report = run_sweep(config, quiet(), "ray://nowhere:1")  # no cluster is asked for
    assert report.counts == Counts(total=19, read=19, already_done=11, already_failed=7, repeated=1)
    assert report.exit_code == 1
    assert {path: path.stat().st_mtime_ns for path in Path(config.output).rglob("*.parquet")} == before


def test_added_prompts_are_done_beside_the_old_ones(copied: Make, address: str) -> None:
    config = copied([*GOOD, *BAD, *prompts(12)[9:]])
    report = run_sweep(config, quiet(), address)
    assert (report.counts.done, report.counts.already_done) == (3, 11)
    assert sorted(row["id"] for row in rows(config)["graphs"]) == sorted(
        [*(f"q{i}" for i in range(12)), "other", "strike"]
    )


def test_pairs_of_a_sweeps_features_are_weighed_with_its_model(copied: Make, address: str) -> None:
    config = copied(GOOD)
    found = run_aggregate(config.output, Coactivation(Grouping(), 2, recorded_model), address)
    pairs = found.dataset("feature_pairs").to_table()
    model = ReplacementModel.from_pretrained(config.model, config.transcoders, device="cpu")
    expected = weigh_pairs(pairs.drop_columns(["virtual_weight", "twera"]), model)
    weights = pairs["virtual_weight"].to_pylist()
    assert weights == pytest.approx(expected["virtual_weight"].to_pylist())
    assert any(weights)


def test_token_ids_give_the_graphs_of_their_text(make_config: Make, swept: Swept, address: str) -> None:
    data = [row | {"ids": [1, *map(WORDS.index, row["prompt"].split())]} for row in prompts(2)]
    outside = {"id": "outside", "prompt": "w5", "answer": "w5", "ids": [1, len(WORDS)]}
    config = make_config([*data, outside], prompts={"token_ids": "ids"}, attribution=TARGETS)
    run_sweep(config, quiet(), address)
    by_ids, by_text = rows(config), rows(swept.config)
    keys = {row["prompt_key"] for row in by_ids["graphs"]}
    assert len(keys) == 2
    assert by_ids["edges"] == [row for row in by_text["edges"] if row["prompt_key"] in keys]
    (failure,) = by_ids["failures"]
    assert "outside the vocabulary" in failure["message"]


def test_a_worker_that_is_killed_costs_nothing_but_time(
    make_config: Make, swept: Swept, progress: Progress, address: str
) -> None:
    config = make_config([*GOOD, *BAD], **CHOICES)
    report = sweep_with(Killed, config, progress, address)
    assert (report.counts.done, report.counts.failed) == (11, 7)
    assert any("a worker died" in note for note in report.notes)
    assert rows(config) == rows(swept.config)


@pytest.mark.faults
def test_a_prompt_that_kills_is_found_and_given_up(
    make_config: Make, progress: Progress, address: str, undisturbed: Callable[..., Any]
) -> None:
    data = prompts(8)
    killer = {"id": "killer", "prompt": "w27 w1 w2"}
    config = make_config([*data[:2], killer, *data[2:]])
    report = sweep_with(Killed, config, progress, address)
    assert (report.counts.done, report.counts.failed) == (8, 1)
    got, expected = rows(config), undisturbed(data)
    (failure,) = got.pop("failures")
    assert (failure["id"], failure["stage"], failure["error_class"]) == ("killer", "worker", "WorkerDied")
    assert failure["attempts"] == 2
    assert "died 2 times" in failure["message"]
    expected.pop("failures")
    assert got == expected


@pytest.mark.faults
def test_a_driver_that_is_killed_is_started_again(
    make_config: Make, progress: Progress, address: str, undisturbed: Callable[..., Any], tmp_path: Path
) -> None:
    data = prompts(14)
    config = make_config(data)
    driver = start_driver(config, address, tmp_path)
    markers = Path(config.output) / "_commits"
    wait_for(lambda: len(list(markers.glob("*.json"))) >= 1, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    committed = {path.name: path.read_bytes() for path in markers.glob("*.json")}
    assert 1 <= len(committed) < 4

    report = run_sweep(config, progress, address)
    assert report.counts.already_done >= 4
    assert report.counts.done == len(data) - report.counts.already_done
    assert {name: (markers / name).read_bytes() for name in committed} == committed
    assert rows(config) == undisturbed(data)


def test_a_second_driver_is_refused_and_the_first_goes_on_until_it_is_interrupted(
    make_config: Make, address: str, tmp_path: Path
) -> None:
    config = make_config(prompts(24), shard_size=2)
    output = Output(config.output)
    driver = start_driver(config, address, tmp_path)
    wait_for(lambda: len(list(output.committed())) >= 1, driver)
    with pytest.raises(StoreError, match=f"is being written by process {driver.pid} on"):
        run_sweep(make_config(prompts(24), shard_size=3), quiet(), address)
    before = len(list(output.committed()))
    wait_for(lambda: len(list(output.committed())) > before, driver)

    driver.send_signal(signal.SIGTERM)
    assert driver.wait(timeout=30) == 130
    assert not output.folder.exists("_driver.json")
    (stored,) = (Path(config.output) / "_runs").glob("*.json")
    report = json.loads(stored.read_text())
    assert report["state"] == "KeyboardInterrupt"
    assert 4 <= report["counts"]["done"] < 24
    assert report["configuration"] == config.model_dump(mode="json")


@pytest.mark.faults
def test_workers_that_cannot_load_stop_the_sweep(
    make_config: Make, progress: Progress, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.runtime.shards.schedule.LOAD_DEATHS", 2)
    with pytest.raises(CircuitSweepError, match="died while loading"):
        sweep_with(DiesLoading, make_config(prompts(3)), progress, address)


def test_an_output_that_cannot_be_written_stops_the_sweep(
    make_config: Make, progress: Progress, address: str
) -> None:
    config = make_config(prompts(3))
    Path(config.output).mkdir()
    (Path(config.output) / "edges").write_text("a file where a folder is needed")
    with pytest.raises(StoreError, match="A file stands where a folder is needed"):
        run_sweep(config, progress, address)
    assert progress.counts.done == 0


@pytest.mark.slow
def test_a_machine_that_goes_away_is_done_without(
    make_config: Make, progress: Progress, undisturbed: Callable[..., Any]
) -> None:
    data = prompts(24)
    expected = undisturbed(data)
    config = make_config(data, workers={"replicas": 2, "cores_per_replica": 1})
    arguments = {"object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**arguments, "num_cpus": 0})
    spot, _ = (cluster.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(2))

    def take_away() -> None:
        wait_for(lambda: len(list((Path(config.output) / "_commits").glob("*.json"))) >= 1)
        cluster.remove_node(spot, allow_graceful=False)

    try:
        thief = threading.Thread(target=take_away)
        thief.start()
        report = sweep_with(Slow, config, progress, cluster.address)
        thief.join()
    finally:
        cluster.shutdown()
    assert report.counts.done == len(data)
    assert progress.notes != []
    assert rows(config) == expected


def test_what_only_a_worker_can_find_is_raised_once_and_as_it_was(
    make_config: Make, model_folder: Path, progress: Progress, address: str
) -> None:
    with pytest.raises(TranscoderError, match="only the worker sees this"):
        sweep_with(RefusesToLoad, make_config(prompts(3)), progress, address)


def test_a_second_driver_of_this_process_is_refused_and_the_first_finishes(
    make_config: Make, address: str
) -> None:
    config = make_config(prompts(8), shard_size=1)
    output, reports = Output(config.output), []
    slow = threading.Thread(target=lambda: reports.append(sweep_with(Slow, config, quiet(), address)))
    slow.start()
    wait_for(lambda: len(list(output.committed())) >= 1)
    with pytest.raises(StoreError, match=f"is being written by process {os.getpid()} on"):
        run_sweep(make_config(prompts(8), shard_size=2), quiet(), address)
    slow.join()
    assert reports[0].counts.done == 8
    assert not output.folder.exists("_driver.json")
