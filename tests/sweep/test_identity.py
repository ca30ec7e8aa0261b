from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.store.commits.keys import run_key
from pipeline.store.rows.records import versions
from pipeline.sweep.config import AttributionConfig, SweepConfig
from pipeline.sweep.identity import identity
from pipeline.sweep_model import pin_input
from pipeline.version import ENGINE_VERSION


def key(config: SweepConfig) -> int:
    return run_key(
        identity(config, pin_input(config.model, "model"), pin_input(config.transcoders, "transcoders"))
    )


@pytest.fixture
def config(make_config: Callable[..., SweepConfig]) -> SweepConfig:
    return make_config([{"prompt": "w1 w2"}])


def test_what_changes_a_result_changes_the_key(config: SweepConfig) -> None:
    changes = [
        {"dtype": "bfloat16"},
        {"pruning": config.pruning.model_copy(update={"node_threshold": 0.7})},
        {"attribution": config.attribution.model_copy(update={"max_targets": 3})},
        {"attribution": config.attribution.model_copy(update={"max_feature_nodes": 9})},
    ]
    rules = [
        {"tolerance": 0.05},
        {"edges_per_row": 9},
        {"precision": "bfloat16"},
        {"targets": ["w1"]},
        {"targets": [4]},
        {"targets": {"difference": ["w1", "w2"]}},
        {"targets": {"column": "answer"}},
    ]
    changes += [{"attribution": AttributionConfig(**rule)} for rule in rules]
    keys = {key(config), *(key(config.model_copy(update=change)) for change in changes)}
    assert len(keys) == 12


def test_what_is_off_is_not_in_the_identity(config: SweepConfig) -> None:
    """A rule that came later and is not used leaves the key of what was swept before as it is."""
    found = identity(config, pin_input(config.model, "model"), pin_input(config.transcoders, "transcoders"))
    assert set(found) == {"engine", "model", "transcoders", "dtype", "attribution", "pruning"}
    assert found["pruning"] == {"node_threshold": 0.8, "edge_threshold": 0.98}
    assert not {"qk", "positions", "generation"} & set(found["attribution"])
    for used in (AttributionConfig(qk=2), AttributionConfig(positions="all")):
        assert key(config.model_copy(update={"attribution": used})) != key(config)
    small = config.pruning.model_copy(update={"small": 3})
    assert key(config.model_copy(update={"pruning": small})) != key(config)


def test_a_copy_under_another_name_has_the_same_key(
    config: SweepConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(config.model, tmp_path / "gemma-3-1b-it")
    snapshot = tmp_path / "snapshots" / ("0" * 40)  # as in the Hub's cache: links to blobs
    snapshot.mkdir(parents=True)
    for path in copy.iterdir():
        (snapshot / path.name).symlink_to(path)
    monkeypatch.chdir(copy)
    names = [str(copy), str(snapshot), f"{copy}/", "."]
    assert {key(config.model_copy(update={"model": name})) for name in names} == {key(config)}


def test_opening_positions_are_part_of_the_key(config: SweepConfig) -> None:
    pins = pin_input(config.model, "model"), pin_input(config.transcoders, "transcoders")
    four = config.model_copy(update={"zero_positions": 4})
    one = config.model_copy(update={"zero_positions": 1})
    plain = run_key(identity(config, *pins))
    chat = run_key(identity(config, *pins, prefix=(2, 105, 2364, 107)))
    assert run_key(identity(one, *pins)) == plain
    assert run_key(identity(four, *pins)) == chat
    asked_for_one = identity(one, *pins, prefix=(2, 105, 2364, 107))
    assert asked_for_one["zero_positions"] == 1  # so that who loads the model again takes one too
    assert len({plain, chat, run_key(asked_for_one)}) == 3


def test_what_does_not_change_a_result_does_not_change_the_key(config: SweepConfig) -> None:
    changes = [
        {"output": "elsewhere", "shard_size": 99},
        {"workers": config.workers.model_copy(update={"replicas": 7})},
        {"attribution": config.attribution.model_copy(update={"batch_size": 7})},
        {"lazy_encoder": True},
    ]
    assert {key(config.model_copy(update=change)) for change in changes} == {key(config)}


def test_the_engine_is_known_by_a_number_of_its_own(
    config: SweepConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, graph = key(config), versions()
    assert graph["engine_version"] == ENGINE_VERSION
    monkeypatch.setattr("importlib.metadata.version", lambda package: "99.9")  # another package, same results
    assert key(config) == before
    monkeypatch.setattr("pipeline.sweep.identity.ENGINE_VERSION", "another")
    assert key(config) != before


def test_the_batch_size_matters_once_features_are_capped(config: SweepConfig) -> None:
    capped = [
        config.attribution.model_copy(update={"max_feature_nodes": 9, "batch_size": size}) for size in (2, 3)
    ]
    assert len({key(config.model_copy(update={"attribution": rule})) for rule in capped}) == 2


@pytest.mark.parametrize(
    ("rule", "idle"),
    [
        ({"tolerance": 0.1, "max_feature_nodes": 9}, {"batch_size": 7}),
        ({"targets": ["w1"]}, {"max_targets": 3}),
        ({"targets": {"column": "answer"}}, {"targets": {"column": "solution"}}),
    ],
)
def test_a_rule_that_another_puts_out_of_force_does_not_matter(
    config: SweepConfig, rule: dict[str, Any], idle: dict[str, Any]
) -> None:
    rules = [AttributionConfig(**rule), AttributionConfig(**(rule | idle))]
    assert len({key(config.model_copy(update={"attribution": rule})) for rule in rules}) == 1
