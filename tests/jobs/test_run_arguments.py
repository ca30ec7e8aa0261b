"""What `run` and `plan` understand of a command line, without running anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.cli import run_command
from jobs.run import Arguments, SweepArguments, main, read_arguments
from pipeline.builtin import SWEEP
from pipeline.errors import ConfigurationError
from pipeline.sweep import SweepConfig
from pipeline.sweep.sweep_file import load_sweep_file


@pytest.fixture
def sweep(tmp_path: Path) -> str:
    path = tmp_path / "sweep.yaml"
    path.write_text("model: demo\ntranscoders: demo\nprompts: demo\noutput: runs/x\nshard_size: 7\n")
    return str(path)


def parsed(*argv: str) -> tuple[SweepArguments, SweepConfig]:
    return read_arguments(Arguments, list(argv), "run", None)


@pytest.mark.parametrize("place", [0, 2, 4])
def test_the_sweep_file_is_the_positional_argument_wherever_it_stands(sweep: str, place: int) -> None:
    argv = ["--transcoders", "other/config.yaml", "--output", "here.yml"]
    arguments, config = parsed(*argv[:place], sweep, *argv[place:])
    assert (arguments.sweep, config.shard_size) == (sweep, 7)
    assert (config.transcoders, config.output) == ("other/config.yaml", "here.yml")


def test_the_word_demo_is_the_built_in_sweep_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, config = parsed("--output", "elsewhere", "demo")
    assert config == load_sweep_file(SWEEP).model_copy(update={"output": "elsewhere"})


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--shard-size", "0"], ["shard_size is 0", "greater than or equal to 1", "Prompts in a shard"]),
        (["--prompts.limit", "0"], ["prompts.limit is 0", "greater than or equal to 1"]),
        (["--pruning.node-threshold", "2"], ["pruning.node_threshold is 2", "less than or equal to 1"]),
        (["--pruning.edge-threshold", "0"], ["pruning.edge_threshold is 0", "greater than 0"]),
        (["--attribution.tolerance", "1"], ["attribution.tolerance is 1", "less than 1"]),
        (["--attribution.max-feature-nodes", "-1"], ["attribution.max_feature_nodes is -1"]),
        (["--attribution.edges-per-row", "0"], ["attribution.edges_per_row is 0"]),
        (["--attribution.max-targets", "0"], ["attribution.max_targets is 0"]),
        (["--attribution.target-probability", "1.5"], ["attribution.target_probability is 1.5"]),
        (["--attribution.batch-size", "0"], ["attribution.batch_size is 0"]),
        (["--attribution.update-interval", "0"], ["attribution.update_interval is 0"]),
        (["--workers.replicas", "0"], ["workers.replicas is 0"]),
        (["--workers.gpus-per-replica", "-1"], ["workers.gpus_per_replica is -1"]),
        (["--workers.cores-per-replica", "0"], ["workers.cores_per_replica is 0"]),
        (["--prompts.text", "a", "--prompts.token-ids", "b"], ["prompts names both a text column"]),
        (["--output", "s3://me:secret@host/x"], ["must not hold credentials"]),
        (["--shard-size", "0", "--prompts.limit", "0"], ["shard_size is 0", "prompts.limit is 0"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_a_bad_option_is_named_as_a_bad_key_is(
    sweep: str, options: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(main, [sweep, *options]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert [part for part in parts if part not in message] == []
    for internal in ("Traceback", "pydantic", "Input should", "type=", "secret"):
        assert internal not in message


@pytest.mark.parametrize("words", [["2/7@-1", "0/5@3"], ["2", "-1", "7", "0", "3", "5"]])
def test_features_are_named_or_listed(sweep: str, words: list[str]) -> None:
    _, config = parsed(sweep, "--attribution.targets.features", *words)
    assert config.attribution.targets.features == ((2, -1, 7), (0, 3, 5))


def test_what_the_file_lacks_the_command_line_supplies(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("model: demo\ntranscoders: demo\n")
    given = ("--prompts.source", "demo", "--output", "there", "--prompts.columns", "family", "answer")
    _, config = parsed(str(tmp_path / "sweep.yaml"), *given)
    assert (config.prompts.source, config.prompts.columns, config.output) == (
        "demo",
        ("family", "answer"),
        "there",
    )
    with pytest.raises(ConfigurationError, match="prompts is missing"):
        parsed(str(tmp_path / "sweep.yaml"), "--output", "there")


def test_an_option_goes_over_a_plain_value_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("model: demo\ntranscoders: demo\nprompts: p.txt\noutput: o\npruning:\n")
    _, config = parsed(str(path), "--prompts.limit", "3", "--pruning.node-threshold", "0.5")
    assert (config.prompts.source, config.prompts.limit) == ("p.txt", 3)
    assert config.pruning.node_threshold == 0.5


def test_problems_of_the_file_and_of_the_command_line_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("model: demo\ntranscoders: demo\nprompts: demo\nshard_size: 0\noutput: o\npruning: 3\n")
    with pytest.raises(ConfigurationError) as caught:
        parsed(str(path), "--prompts.limit", "0", "--pruning.node-threshold", "0.5")
    assert {line.partition(" is ")[0] for line in str(caught.value).splitlines()} == {
        "command line: prompts.limit",
        f"{path}, line 4: shard_size",
        f"{path}, line 6: pruning",
    }
