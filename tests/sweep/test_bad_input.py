"""What a user gets who asks for something impossible: one message, exit code 2, no traceback, no worker."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import ray
import yaml

from jobs.cli import run_command
from jobs.run import main
from pipeline.store.output import Output
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.inputs import open_inputs
from tests.support.tiny_model import make_transcoders

Refuse = Callable[..., str]


@pytest.fixture
def refuse(
    make_config: Callable[..., SweepConfig],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Refuse:
    """Return a function that runs the command on a sweep that must be refused, and returns the message."""

    def no_workers(*_: object) -> None:
        raise AssertionError("Ray was started for a sweep that should have been refused before")

    monkeypatch.setattr("pipeline.runtime.run.cluster", no_workers)

    def run(*options: str, **changes: object) -> str:
        path = tmp_path / "sweep.yaml"
        values = make_config([{"prompt": "w1 w2"}]).model_dump(mode="json") | changes
        path.write_text(yaml.safe_dump(values))
        assert run_command(main, [str(path), *options]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert "Traceback" not in output.err
        assert output.err.startswith("error: ")
        return output.err

    return run


def test_a_missing_prompts_file(refuse: Refuse) -> None:
    assert "'gone.parquet' does not exist" in refuse(prompts="gone.parquet")


def test_a_missing_column(refuse: Refuse) -> None:
    assert "no column 'txt'; it has prompt" in refuse("--prompts.text", "txt")


def test_a_missing_model(refuse: Refuse) -> None:
    assert "model 'nobody/nothing' not found" in refuse("--model", "nobody/nothing")


def test_missing_transcoders(refuse: Refuse) -> None:
    assert "transcoders './nothing' not found" in refuse("--transcoders", "./nothing")


def test_a_folder_that_is_no_model(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "could not be loaded" in refuse(model=str(tmp_path / "empty"))


def test_an_unsupported_family_is_named_with_those_supported(refuse: Refuse, model_folder: Path) -> None:
    path = model_folder / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "opt"}))
    message = refuse()
    assert "'opt' is not supported" in message
    assert "Llama (llama)" in message


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"layers": 3}, "have 3 layers, the model has 2"),
        ({"width": 8}, "have d_model 8, the model has 16"),
        ({"input_hook": "nowhere"}, "feature_input_hook is 'nowhere'"),
    ],
)
def test_transcoders_of_another_model(
    refuse: Refuse, tmp_path: Path, other: dict[str, int | str], message: str
) -> None:
    assert message in refuse(transcoders=make_transcoders(tmp_path / "other", **other))


def test_a_corrupt_transcoder_file(refuse: Refuse, model_folder: Path) -> None:
    path = model_folder / "transcoders" / "layer_1.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    assert "layer_1.safetensors is corrupt" in refuse()


def test_transcoders_without_a_configuration(refuse: Refuse, model_folder: Path) -> None:
    (model_folder / "transcoders" / "config.yaml").unlink()
    assert "files/transcoders holds no transcoders" in refuse()


def test_an_output_of_another_configuration(refuse: Refuse, make_config: Callable[..., SweepConfig]) -> None:
    config = make_config([{"prompt": "w1 w2"}])
    inputs = open_inputs(config)
    Output(config.output).claim(inputs.identity, inputs.run_key)
    message = refuse("--pruning.node-threshold", "0.5")
    assert "another configuration" in message
    assert "pruning.node_threshold: 0.8 -> 0.5" in message


def test_an_output_below_a_file(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "A file stands where a folder is needed" in refuse("--output", str(tmp_path / "file" / "output"))


@pytest.fixture
def claimed_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let outputs be claimed without root's rights, which no permission stops."""
    if os.geteuid() != 0:
        return
    claim = Output.claim

    def claim_as_nobody(*arguments: object) -> None:
        os.seteuid(65534)
        try:
            claim(*arguments)
        finally:
            os.seteuid(0)

    monkeypatch.setattr(Output, "claim", claim_as_nobody)


@pytest.mark.usefixtures("claimed_by_nobody")
def test_an_output_without_permission(refuse: Refuse, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    message = refuse("--output", str(closed / "output"))
    assert f"cannot create {closed}/output/_sweep.json" in message
    assert "Permission denied" in message
    assert "Give this user (or these credentials) the right to write there" in message


def test_an_output_on_a_file_system_that_takes_no_files(refuse: Refuse) -> None:
    assert "cannot create /proc/output" in refuse("--output", "/proc/output")


def test_an_output_of_unknown_kind(refuse: Refuse) -> None:
    assert "ftp:// is not supported" in refuse("--output", "ftp://host/path")


def test_a_column_that_the_tables_have_already(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "taken.jsonl").write_text('{"prompt": "w1", "tokens": "w1"}')
    source = {"source": str(tmp_path / "taken.jsonl"), "columns": ["tokens"]}
    assert "tokens would collide" in refuse(prompts=source)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--pruning.node-treshold", "0.5"], ["--pruning.node-treshold", "--pruning.node-threshold"]),
        (["--pruning.node-threshold", "much"], ["--pruning.node-threshold", "much"]),
    ],
)
def test_an_option_that_cannot_be_read(
    make_config: Callable[..., SweepConfig],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    parts: list[str],
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(make_config([{"prompt": "w1 w2"}]).model_dump(mode="json")))
    with pytest.raises(SystemExit) as caught:
        main([str(path), *options])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert [part for part in parts if part not in message] == []


def test_a_cluster_that_is_not_there(
    make_config: Callable[..., SweepConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(make_config([{"prompt": "w1 w2"}]).model_dump(mode="json")))
    assert run_command(main, [str(path), "--address", "127.0.0.1:1"]) == 2
    assert "no Ray cluster could be joined at '127.0.0.1:1'" in capsys.readouterr().err


def test_a_replica_that_no_machine_can_hold(
    make_config: Callable[..., SweepConfig],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Ray of our own does not grow; here it is the tests', which starts no other."""
    start = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    monkeypatch.setattr("pipeline.runtime.workers.session.ray.init", lambda **_: start(address=address))
    monkeypatch.setattr("pipeline.runtime.workers.session.own_token", nullcontext)
    path = tmp_path / "sweep.yaml"
    values = make_config([{"prompt": "w1 w2"}], workers={"gpus_per_replica": 9}).model_dump(mode="json")
    path.write_text(yaml.safe_dump(values))
    assert run_command(main, [str(path), "--address", "local"]) == 2
    assert "9 GPUs fits on no machine" in capsys.readouterr().err
