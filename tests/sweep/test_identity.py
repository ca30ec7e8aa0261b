from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ModelError, TranscoderError
from pipeline.store.commits.keys import run_key
from pipeline.store.rows.records import versions
from pipeline.sweep.config import AttributionConfig, SweepConfig
from pipeline.sweep.pinning import WHOLE_BYTES, fingerprint, identity, pin_model, pin_transcoders
from pipeline.version import ENGINE_VERSION


def key(config: SweepConfig) -> int:
    return run_key(identity(config, pin_model(config.model), pin_transcoders(config.transcoders)))


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
    monkeypatch.setattr("pipeline.sweep.pinning.ENGINE_VERSION", "another")
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


def test_a_folder_is_known_by_its_content_not_its_place(model_folder: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(model_folder / "model", tmp_path / "moved"))
    (moved / "README.md").write_text("a card changes nothing")
    assert fingerprint(moved) == fingerprint(model_folder / "model")
    (moved / "config.json").write_text("{}")
    assert fingerprint(moved) != fingerprint(model_folder / "model")


@pytest.mark.parametrize("place", [0, WHOLE_BYTES // 2, WHOLE_BYTES + (1 << 20) - 1])
def test_a_large_file_is_sampled_from_its_first_to_its_last_byte(tmp_path: Path, place: int) -> None:
    path = tmp_path / "weights.safetensors"
    content = bytearray(WHOLE_BYTES + (1 << 20))
    path.write_bytes(content)
    before = fingerprint(tmp_path)
    changed = slice(max(0, place - (1 << 18)), place + (1 << 18))
    content[changed] = b"\1" * len(content[changed])
    path.write_bytes(content)
    assert fingerprint(tmp_path) != before


def test_files_elsewhere_that_a_dictionary_names_are_part_of_it(model_folder: Path, tmp_path: Path) -> None:
    folder = model_folder / "transcoders"
    outside = [tmp_path / f"outside_{layer}.safetensors" for layer in range(2)]
    for layer, path in enumerate(outside):
        (folder / f"layer_{layer}.safetensors").rename(path)
    with (folder / "config.yaml").open("a") as opened:
        opened.write(f"transcoders: [{', '.join(map(str, outside))}]\n")
    before = pin_transcoders(str(folder)).fingerprint
    outside[1].write_bytes(b"other")
    after = pin_transcoders(str(folder)).fingerprint
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == [str(outside[1])]


def test_a_hub_name_is_pinned_to_the_commit_that_was_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repositories = {
        "models--org--model": "config.json",
        "models--org--set": "config.yaml",
        "models--org--part": "",
    }
    for repository, name in repositories.items():
        commit = "0123456789abcdef" * 2 + repository[-8:].encode().hex()[:8]
        snapshot = tmp_path / repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (tmp_path / repository / "refs").mkdir()
        (tmp_path / repository / "refs" / "main").write_text(commit)
        (snapshot / (name or "weights")).write_text("transcoders: ['hf://org/part/layer_0.npz']")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model, dictionary = pin_model("org/model"), pin_transcoders("org/set@main")
    assert model.name == f"org/model@{model.fingerprint['org/model']}"
    assert dictionary.name == f"org/set@{dictionary.fingerprint['org/set']}"
    assert set(dictionary.fingerprint) == {"org/set", "org/part"}
    assert model.folder is dictionary.folder is None


def test_a_model_that_is_nowhere_is_named() -> None:
    with pytest.raises(ModelError, match=r"'nobody/nothing' is no folder here and could not be had"):
        pin_model("nobody/nothing")
    with pytest.raises(ModelError, match=r"'\./nothing' is no folder here"):
        pin_model("./nothing")


def test_transcoders_that_are_nowhere_are_named() -> None:
    with pytest.raises(TranscoderError, match=r"'nobody/nothing' is no folder here and could not be had"):
        pin_transcoders("nobody/nothing")
