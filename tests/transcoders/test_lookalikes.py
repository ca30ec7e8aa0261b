"""Files that look like a known format but hold more: what nobody reads is refused by name, never left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from pipeline.errors import TranscoderError
from pipeline.transcoders import load_transcoders
from pipeline.transcoders.activation import TopK
from tests.support import written_formats
from tests.support.written_formats import VARIANTS, D, F, K


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def _add(path: Path, **tensors: torch.Tensor) -> None:
    save_file({**load_file(path), **tensors}, path)


def _configure(folder: Path, **keys: object) -> None:
    """Add keys to the first configuration in a folder."""
    path = sorted([*folder.rglob("config.yaml"), *folder.rglob("*.json")])[0]
    if path.suffix == ".yaml":
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **keys}))
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def _refusal(folder: Path) -> str:
    with pytest.raises(TranscoderError) as raised:
        load_transcoders(str(folder))
    return str(raised.value)


@pytest.mark.parametrize("extra", [torch.ones(F), torch.ones(F, dtype=torch.bool)], ids=["float", "bool"])
@pytest.mark.parametrize("name", sorted(VARIANTS.keys() - {"GemmaScope", "GemmaScope compressed"}))
def test_a_tensor_that_no_reader_takes_is_refused_by_name(name, extra, tmp_path):
    folder = VARIANTS[name](tmp_path / "set").folder
    files = _weights(folder)
    for path in files:
        before = path.read_bytes()
        _add(path, post_enc=extra)
        said = _refusal(folder)
        assert "post_enc" in said
        assert str(path) in said
        path.write_bytes(before)


def test_an_array_that_no_reader_takes_is_refused_by_name(tmp_path):
    import numpy as np

    path = sorted(written_formats.gemma_scope(tmp_path / "set").folder.rglob("params.npz"))[0]
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **arrays, b_dec_out=np.ones(D, np.float32))
    assert "b_dec_out" in _refusal(tmp_path / "set")


@pytest.mark.parametrize(
    "name", ["circuit-tracer", "SAELens", "SAELens topk, older", "sparsify", "GemmaScope 2"]
)
def test_a_key_that_no_reader_knows_is_refused_with_its_value(name, tmp_path):
    folder = VARIANTS[name](tmp_path / "set").folder
    _configure(folder, coalesce_topk="concat")
    assert "coalesce_topk: 'concat'" in _refusal(folder)


@pytest.mark.parametrize("off", [None, False, 0, "none", []])
def test_a_key_that_is_switched_off_changes_nothing(off, tmp_path):
    folder = written_formats.sparsify(tmp_path / "set").folder
    _configure(folder, normalize_io=off)
    assert load_transcoders(str(folder)).n_layers == 3


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("SAELens", "apply_b_dec_to_input", True),
        ("SAELens", "reshape_activations", "hook_z"),
        ("SAELens", "rescale_acts_by_decoder_norm", True),
        ("SAELens", "hook_head_index", 3),
        ("sparsify", "normalize_io", True),
        ("sparsify", "n_targets", 3),
        ("sparsify", "post_encoder_scale", True),
    ],
)
def test_keys_that_mean_another_computation(name, key, value, tmp_path):
    folder = VARIANTS[name](tmp_path / "set").folder
    _configure(folder, **{key: value})
    said = _refusal(folder)
    assert key in said
    assert repr(value) in said


@pytest.mark.parametrize("affine", [True, False])
def test_a_skip_that_the_configuration_denies(affine, tmp_path):
    folder = written_formats.gemma_scope_2(tmp_path / "set", affine=affine).folder
    _configure(folder, affine_connection=not affine)
    assert f"affine_connection: {not affine}" in _refusal(folder)


# k, as people spell it


def _relu(folder: Path, **keys: object) -> Path:
    written_formats.circuit_tracer_plt(folder, "relu", skip=False)
    _configure(folder, **keys)
    return folder


@pytest.mark.parametrize(
    "keys", [{"k": 8}, {"activation_fn": "topk", "k": 8}, {"activation": "relu", "k": 8}]
)
def test_a_k_that_nothing_uses(keys, tmp_path):
    said = _refusal(_relu(tmp_path / "set", **keys))
    assert "topk" in said


def test_thresholds_beside_another_activation(tmp_path):
    folder = written_formats.circuit_tracer_plt(tmp_path / "set").folder
    _configure(folder, activation="topk", k=K)
    assert "has thresholds" in _refusal(folder)


@pytest.mark.parametrize(
    "k",
    [
        torch.tensor(K),
        torch.tensor([K]),
        torch.tensor(float(K)),
        torch.tensor(K, dtype=torch.bfloat16),
        torch.tensor(K, dtype=torch.uint8),
    ],
    ids=["0-d", "1-d", "float", "bf16", "uint8"],
)
def test_a_tensor_of_any_type_may_say_k(k, tmp_path):
    folder = _relu(tmp_path / "set")
    for path in _weights(folder):
        _add(path, k=k)
    assert {layer.activation for layer in load_transcoders(str(folder)).layers} == {TopK(K)}


@pytest.mark.parametrize("k", [torch.tensor([3, 4]), torch.tensor(3.7), torch.tensor(float("nan"))])
def test_a_k_that_is_no_whole_number(k, tmp_path):
    folder = _relu(tmp_path / "set")
    for path in _weights(folder):
        _add(path, k=k)
    assert "must be one whole number" in _refusal(folder)


def test_a_k_that_file_and_configuration_disagree_on(tmp_path):
    folder = _relu(tmp_path / "set", activation="topk", k=K + 1)
    for path in _weights(folder):
        _add(path, k=torch.tensor(K))
    assert f"k = {K}" in _refusal(folder)


@pytest.mark.parametrize("scan", ["facebook/crv-8b-instruct-transcoders//@main"])
def test_a_published_k_is_found_in_the_caches_spelling(scan, tmp_path):
    hooks = {"feature_input_hook": "mlp.hook_in", "feature_output_hook": "mlp.hook_out"}
    written_formats.config(tmp_path, model_kind="transcoder_set", activation="topk", scan=scan, **hooks)
    shapes = {"W_enc": (130, D), "b_enc": (130,), "W_dec": (130, D), "b_dec": (D,)}
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, tmp_path / "layer_0.safetensors")
    assert load_transcoders(str(tmp_path)).layers[0].activation == TopK(128)


# Thresholds and weights


def test_thresholds_of_a_wrong_number(tmp_path):
    folder = written_formats.circuit_tracer_plt(tmp_path / "set").folder
    _add(_weights(folder)[0], **{"activation_function.threshold": torch.ones(F - 1)})
    assert f"({F - 1},)" in _refusal(folder)


def test_thresholds_that_are_not_a_number(tmp_path):
    folder = written_formats.circuit_tracer_plt(tmp_path / "set").folder
    _add(_weights(folder)[0], **{"activation_function.threshold": torch.full((F,), float("nan"))})
    assert "thresholds are not a number" in _refusal(folder)


def test_weights_of_whole_numbers_are_quantised_and_refused(tmp_path):
    folder = written_formats.circuit_tracer_plt(tmp_path / "set").folder
    _add(_weights(folder)[0], W_enc=torch.ones(F, D, dtype=torch.int32))
    assert "W_enc has element type int32" in _refusal(folder)


# OpenMOSS


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"hook_point_out": "blocks.0.ln2.hook_normalized"}, "autoencoder"),
        ({"use_glu_encoder": True}, "use_glu_encoder: True"),
        ({"norm_activation": "token-wise"}, "norm_activation is 'token-wise'"),
        ({"act_fn": "batchtopk"}, "act_fn is 'batchtopk'"),
        ({"act_fn": "topk"}, "the weights have thresholds"),
        ({"sae_type": "crosscoder"}, "sae_type is 'crosscoder'"),
        ({"hook_point_out": "blocks.1.hook_mlp_out"}, "hook_point_out: blocks.1.hook_mlp_out"),
    ],
)
def test_what_open_moss_may_say_and_is_not_read(keys, said, tmp_path):
    folder = written_formats.open_moss(tmp_path / "set").folder
    _configure(folder, **keys)
    assert said in _refusal(folder)


def test_a_norm_that_was_never_measured(tmp_path):
    folder = written_formats.open_moss(tmp_path / "set").folder
    _add(_weights(folder)[0], **{"dataset_average_activation_norm.blocks.0.hook_mlp_out": torch.tensor(0.0)})
    assert "average norm at blocks.0.hook_mlp_out" in _refusal(folder)


def test_a_cross_layer_set_of_other_layers(tmp_path):
    folder = written_formats.open_moss_clt(tmp_path / "set").folder
    _configure(folder, hook_points_in=[f"blocks.{index}.hook_resid_mid" for index in (4, 5, 6)])
    assert "blocks.4.hook_resid_mid" in _refusal(folder)
