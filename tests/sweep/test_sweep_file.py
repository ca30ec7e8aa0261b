from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.sweep.config import SweepConfig, TargetsConfig
from pipeline.sweep.sweep_file import load_sweep_file

GOOD = "model: demo\ntranscoders: demo\nprompts: prompts.parquet\noutput: runs/x\n"


def load(tmp_path: Path, text: str) -> SweepConfig:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return load_sweep_file(path)


def test_the_four_lines_that_must_be_written_are_enough(tmp_path: Path) -> None:
    config = load(tmp_path, GOOD)
    assert config.prompts.source == "prompts.parquet"
    assert config.pruning.node_threshold == 0.8
    assert config.attribution.max_feature_nodes is None


def test_an_empty_section_means_its_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD + "pruning:\n  # node_threshold: 0.9\n") == load(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("modle: x\n", ["line 5", "modle is not a key", "Did you mean model?"]),
        ("pruning:\n  node_treshold: 1\n", ["line 6", "pruning.node_treshold", "pruning.node_threshold?"]),
        ("node_threshold: 0.5\n", ["node_threshold is not a key", "Did you mean pruning.node_threshold?"]),
        ("zzz: 1\n", ["zzz is not a key", "model, transcoders, prompts"]),
        ("shard_size: many\n", ["line 5", "shard_size is 'many'", "valid integer"]),
        ("pruning: {edge_threshold: 1.5}\n", ["pruning.edge_threshold is 1.5", "less than or equal to 1"]),
        ("workers: {replicas: some}\n", ["workers.replicas is 'some'", "integer or should be 'auto'"]),
        ("pruning: 3\n", ["pruning is 3", "node_threshold, edge_threshold"]),
        (
            "attribution: {targets: 3}\n",
            ["line 5", "targets is 3", "tokens, column, token_ids, difference, features"],
        ),
        ("attribution: {targets: []}\n", ["line 5", "attribution.targets names nothing"]),
        ("attribution: {targets: [1.5]}\n", ["attribution.targets.tokens", "valid integer", "valid string"]),
        ("attribution: {targets: {colum: a}}\n", ["Did you mean attribution.targets.column?"]),
        ("attribution: {targets: {column: a, tokens: [b]}}\n", ["names tokens and column: keep the one"]),
        ("attribution: {targets: {difference: [a]}}\n", ["attribution.targets.difference"]),
        ("attribution: {targets: {features: [0/2]}}\n", ["line 5", "attribution.targets.features", "0/2@-1"]),
        ("attribution: {targets: {features: [0:2@1]}}\n", ["attribution.targets.features", "0/2@1"]),
        ("attribution: {tolerance: 1}\n", ["attribution.tolerance is 1", "less than 1"]),
        ("attribution: {precision: half}\n", ["'float32', 'tf32' or 'bfloat16'"]),
        ("dtype: float8\n", ["dtype is 'float8'", "'float32', 'bfloat16' or 'float16'"]),
        ("model: other\n", ["line 5", "model was already given in line 1"]),
        ("shard_size: [1\n", ["line 6", "not valid YAML"]),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_would_be_right(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, GOOD + text)
    assert [part for part in parts if part not in str(caught.value)] == []


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, "model: demo\nprompts: {source: x, colums: [a]}\noutput: o\nshard_size: 0\n")
    message = str(caught.value)
    assert "transcoders is missing" in message
    assert "prompts.colums is not a key. Did you mean prompts.columns?" in message
    assert "shard_size is 0" in message


@pytest.mark.parametrize("text", ["", "- a\n", "just words\n"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="must hold keys and values"):
        load(tmp_path, text)


def aliases(depth: int) -> str:
    """Lists of lists that stand for 9 to the power of the depth."""
    steps = (f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, depth))
    return "\n".join(["a0: &a0 [x, x, x]", *steps, f"model: *a{depth - 1}", ""])


@pytest.mark.parametrize(
    "text",
    [
        aliases(12),
        "model: &m demo\noutput: *m\n",
        "model: " + "[" * 20_000,
        "model: 2026-13-45\n",
        "output: " + "1" * 5000,
    ],
    ids=["aliases", "one alias", "deep", "date", "digits"],
)
def test_yaml_that_is_more_than_keys_and_values_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not valid YAML") as caught:
        load(tmp_path, text)
    assert len(str(caught.value)) < 1000


def test_a_device_is_no_sweep_file() -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_sweep_file("/dev/zero")


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="shard_size is 'xxx") as caught:
        load(tmp_path, GOOD + f"shard_size: {'x' * 100_000}\n")
    assert len(str(caught.value)) < 1000


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.yaml.*does not exist"):
        load_sweep_file(tmp_path / "nothing.yaml")


def test_credentials_in_the_output_are_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="AWS_ACCESS_KEY_ID") as caught:
        load(tmp_path, GOOD.replace("runs/x", "s3://me:secret@bucket/x"))
    assert "secret@" not in str(caught.value)


def test_text_and_token_ids_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="both a text column and a token_ids column"):
        load(tmp_path, GOOD.replace("prompts.parquet", "{source: x, text: a, token_ids: b}"))


def test_chat_and_token_ids_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a chat template makes ids from text"):
        load(tmp_path, GOOD.replace("prompts.parquet", "{source: x, chat: true, token_ids: b}"))


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("", TargetsConfig()),
        ("attribution: {targets: null}\n", TargetsConfig()),
        ("attribution: {targets: [' Austin', 7]}\n", TargetsConfig(tokens=(" Austin", 7))),
        ("attribution: {targets: {column: answer}}\n", TargetsConfig(column="answer")),
        ("attribution: {targets: {features: [[0, 1, 2]]}}\n", TargetsConfig(features=((0, 1, 2),))),
        ("attribution: {targets: {features: [0/2@1]}}\n", TargetsConfig(features=((0, 1, 2),))),
        ("attribution: {targets: {difference: [' a', 7]}}\n", TargetsConfig(difference=(" a", 7))),
    ],
)
def test_targets_are_a_list_or_a_section(tmp_path: Path, text: str, targets: TargetsConfig) -> None:
    assert load(tmp_path, GOOD + text).attribution.targets == targets


def test_a_configuration_cannot_be_changed_after_its_checks() -> None:
    config = SweepConfig(model="m", transcoders="t", prompts="p", output="o")
    with pytest.raises(ValueError, match="frozen"):
        config.shard_size = 3
