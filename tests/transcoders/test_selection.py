"""One set among several: by a pattern in the reference, before anything is downloaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch

from pipeline.errors import TranscoderError
from pipeline.hub.pinning import pin
from pipeline.transcoders import load_transcoders
from pipeline.transcoders.selection import choices, layer_of
from tests.support import written_formats
from tests.support.written_formats import L


def _side_by_side(folder: Path) -> Path:
    """Write Gemma Scope 2's `transcoder_all`: two sparsities of each layer, the small one's decoders zero."""
    for size in ("big", "small"):
        written = written_formats.gemma_scope_2(folder / size).folder / "transcoder_all"
        for path in written.glob("layer_*"):
            target = folder / "set/transcoder_all" / path.name.replace("small", size)
            shutil.copytree(path, target)
        shutil.rmtree(folder / size)
    return folder / "set"


def _gemma_scope(folder: Path, sparsities: dict[int, tuple[int, ...]]) -> Path:
    """Write GemmaScope's folders: `layer_0/width_16k/average_l0_76`, other numbers in each layer."""
    written = written_formats.gemma_scope(folder).folder
    for layer, found in sparsities.items():
        width = written / f"layer_{layer}/width_16k"
        source = next(width.glob("average_l0_*"))
        source.rename(width / "kept")
        for sparsity in found:
            shutil.copytree(width / "kept", width / f"average_l0_{sparsity}")
        shutil.rmtree(width / "kept")
    return written


def _encoders(name: str) -> list[torch.Tensor]:
    return [layer.encoder for layer in load_transcoders(name).layers]


@pytest.mark.parametrize("size", ["big", "small"])
def test_a_pattern_chooses_one_of_two_sets(size, tmp_path):
    folder = _side_by_side(tmp_path)
    pattern = f"transcoder_all/layer_{{layer}}_width_16k_l0_{size}"
    shutil.copytree(folder, tmp_path / "alone")
    for path in (tmp_path / "alone").glob(f"transcoder_all/layer_*_l0_{'small' if size == 'big' else 'big'}"):
        shutil.rmtree(path)
    for mine, expected in zip(
        _encoders(f"{folder}/{pattern}"), _encoders(str(tmp_path / "alone")), strict=True
    ):
        assert torch.equal(mine, expected)


def test_several_sets_are_listed_as_patterns(tmp_path):
    with pytest.raises(TranscoderError) as raised:
        load_transcoders(str(_side_by_side(tmp_path)))
    for size in ("big", "small"):
        assert f"transcoder_all/layer_{{layer}}_width_16k_l0_{size}" in str(raised.value)


def test_sparsities_with_a_number_of_their_own_in_each_layer(tmp_path):
    folder = _gemma_scope(tmp_path / "set", {0: (76,), 1: (65,), 2: (49,)})
    assert len(_encoders(f"{folder}/layer_{{layer}}/width_16k/average_l0_*")) == L
    _gemma_scope(tmp_path / "more", {0: (76, 115), 1: (65,), 2: (49, 87)})
    name = str(tmp_path / "more" / "layer_{layer}/width_16k/average_l0_*")
    with pytest.raises(TranscoderError) as raised:
        load_transcoders(name)
    said = str(raised.value)
    assert "average_l0_76" in said
    assert "average_l0_115" in said
    assert "config.yaml" in said


def test_a_sets_own_sparsity_is_found_beside_others(tmp_path):
    paths = [
        f"layer_{layer}/width_16k/average_l0_{n}/params.npz" for layer in range(3) for n in (10, 90 + layer)
    ]
    assert choices(paths) == {"layer_{layer}/width_16k/average_l0_10": True}


def _sparsify(folder: Path, *inside: str) -> Path:
    written = written_formats.sparsify(folder).folder
    for path in list(written.glob("layers.*.mlp")):
        for name in inside:
            shutil.copytree(path, folder / "moved" / path.name / name)
        shutil.rmtree(path)
    return folder / "moved"


def test_seeds_of_sparsify(tmp_path):
    folder = _sparsify(tmp_path / "set", "seed0", "seed1")
    assert load_transcoders(f"{folder}/layers.{{layer}}.mlp/seed1").n_layers == L
    with pytest.raises(TranscoderError, match=r"layers\.\{layer\}\.mlp/seed0, layers\.\{layer\}\.mlp/seed1"):
        load_transcoders(str(folder))


def test_the_best_of_sparsify_lie_in_two_folders_of_one_name(tmp_path):
    written = written_formats.sparsify(tmp_path / "set").folder
    for path in sorted(written.glob("layers.*.mlp")):
        shutil.copytree(path, written / "best" / path.name / path.name)
    name = "best/layers.{layer}.mlp/layers.{layer}.mlp"
    assert load_transcoders(f"{written}/{name}").n_layers == L
    with pytest.raises(TranscoderError) as raised:
        load_transcoders(str(written))
    assert name in str(raised.value)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("transcoder_all/layer_{layer}_width_262k", "nothing in"),
        ("transcoder_all/layer_{layer}_*", "fits 2 files of layer 0"),
        ("transcoder_all/layer_1*_l0_big", "but not 0"),
    ],
)
def test_a_pattern_that_does_not_name_one_file_a_layer(pattern, said, tmp_path):
    with pytest.raises(TranscoderError) as raised:
        load_transcoders(f"{_side_by_side(tmp_path)}/{pattern}")
    assert said in str(raised.value)


def test_a_pattern_in_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(TranscoderError, match="not found"):
        load_transcoders(f"{tmp_path}/none/layer_{{layer}}")


def test_the_content_of_a_pattern_is_that_of_its_files_alone(tmp_path):
    folder = _side_by_side(tmp_path)
    name = f"{folder}/transcoder_all/layer_{{layer}}_width_16k_l0_big"
    before = pin(name, "transcoders")
    next(folder.rglob("*l0_small/params.safetensors")).write_bytes(b"other")
    assert pin(name, "transcoders").fingerprint == before.fingerprint
    next(folder.rglob("*l0_big/config.json")).write_text(json.dumps({"l0": 1}))
    assert pin(name, "transcoders").fingerprint != before.fingerprint
    assert str(before.folder) == name


# On the Hub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Stand in for the Hub's list of files and its downloads, and note what is downloaded."""
    fetched: list[str] = []
    repository = tmp_path / "hub"

    def list_repo_files(name, revision=None):
        return [path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file()]

    def snapshot_download(name, revision=None, allow_patterns=None, ignore_patterns=None):
        fetched.extend(allow_patterns)
        return str(repository)

    monkeypatch.setattr(huggingface_hub, "list_repo_files", list_repo_files)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    shutil.copytree(_side_by_side(tmp_path / "written"), repository)
    return fetched


def test_only_the_chosen_files_are_downloaded(hub):
    name = "org/repo/transcoder_all/layer_{layer}_width_16k_l0_big@main"
    assert load_transcoders(name).n_layers == L
    folders = {path.rpartition("/")[0] for path in hub}
    assert folders == {f"transcoder_all/layer_{layer}_width_16k_l0_big" for layer in range(L)}
    assert {path.rpartition("/")[2] for path in hub} == {"params.safetensors", "config.json"}


def test_several_sets_are_refused_before_anything_is_downloaded(hub):
    with pytest.raises(TranscoderError, match=r"layer_\{layer\}_width_16k_l0_big"):
        load_transcoders("org/repo")
    assert hub == []


def test_without_a_list_of_files_the_pattern_itself_is_fetched(hub, monkeypatch):
    def offline(name, revision=None):
        raise ConnectionError("offline")

    monkeypatch.setattr(huggingface_hub, "list_repo_files", offline)
    assert load_transcoders("org/repo/transcoder_all/layer_{layer}_width_16k_l0_big").n_layers == L
    assert all("l0_small" not in pattern for pattern in hub)


@pytest.mark.parametrize(
    ("path", "layer"),
    [
        ("layer_3/width_16k/params.npz", 3),
        ("params_layer_12.safetensors", 12),
        ("layers.3.mlp/sae.safetensors", 3),
        ("blocks.3.hook_mlp_out/sae_weights.safetensors", 3),
        ("h.4.mlp/sae.safetensors", 4),
        ("width_16k/average_l0_70/params.npz", None),
    ],
)
def test_the_layer_that_a_path_says(path, layer):
    assert layer_of(path) == layer
