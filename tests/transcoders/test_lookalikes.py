"""Files that look like a known format but hold more: weights that nobody reads are refused by name."""

from __future__ import annotations

import json
import logging
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


@pytest.mark.parametrize(
    "extra",
    [torch.ones(F), torch.tensor(2.0), torch.ones(F).to(torch.float8_e4m3fn)],
    ids=["float", "number", "float8"],
)
@pytest.mark.parametrize("name", sorted(VARIANTS.keys() - {"GemmaScope", "GemmaScope compressed"}))
def test_a_tensor_that_no_reader_takes_is_refused_by_name(name, extra, tmp_path):
    folder = VARIANTS[name](tmp_path / "set").folder
    files = _weights(folder)
    for path in files:
        before = path.read_bytes()
        _add(path, spare_weights=extra)
        said = _refusal(folder)
        assert "spare_weights" in said
        assert str(path.parent) in said
        path.write_bytes(before)


@pytest.mark.parametrize("name", sorted(VARIANTS.keys() - {"GemmaScope", "GemmaScope compressed"}))
def test_what_training_counted_is_left_out(name, tmp_path):
    """Counters, steps, masks and random states change no number, in any format."""
    folder = VARIANTS[name](tmp_path / "set").folder
    before = load_transcoders(str(folder))
    side = {
        "n_forward_passes_since_fired": torch.zeros(F, dtype=torch.int64),
        "step": torch.tensor(3),
        "feature_mask": torch.ones(F, dtype=torch.bool),
        "random_state": torch.zeros(8, dtype=torch.uint32),
    }
    for path in _weights(folder):
        _add(path, **side)
    after = load_transcoders(str(folder))
    for mine, theirs in zip(before.layers, after.layers, strict=True):
        assert torch.equal(mine.encoder, theirs.encoder)
        assert torch.equal(mine.encoder_bias, theirs.encoder_bias)
        assert torch.equal(mine.decoder_bias, theirs.decoder_bias)


def test_what_is_left_out_is_said_once(tmp_path, caplog):
    folder = written_formats.sparsify(tmp_path / "set").folder
    for path in _weights(folder):
        _add(path, tokens_seen_once=torch.tensor(3), odd_mask=torch.ones(F, dtype=torch.bool))
    with caplog.at_level(logging.WARNING, "pipeline"):
        assert load_transcoders(str(folder)).n_layers == 3
    (record,) = caplog.records
    assert "odd_mask, tokens_seen_once" in record.getMessage()


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
    _configure(folder, gating="soft")
    assert "gating: 'soft'" in _refusal(folder)


@pytest.mark.parametrize("off", [None, False, 0, "none", []])
def test_a_key_that_is_switched_off_changes_nothing(off, tmp_path):
    folder = written_formats.sparsify(tmp_path / "set").folder
    _configure(folder, gating=off)
    assert load_transcoders(str(folder)).n_layers == 3


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("SAELens", "apply_b_dec_to_input", True),
        ("SAELens", "reshape_activations", "hook_z"),
        ("SAELens", "rescale_acts_by_decoder_norm", True),
        ("SAELens", "hook_head_index", 3),
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


# clt-training, which sparsify's reader would take


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"coalesce_topk": "group"}, "coalesce_topk is 'group'"),
        ({"topk_coalesced": True}, "topk_coalesced: True"),
        ({"per_source_tied": True}, "per_source_tied: True"),
        ({"activation": "batchtopk"}, "activation is 'batchtopk'"),
        ({"n_sources": 3}, "n_sources is 3"),
        ({"n_targets": 4}, "n_targets is 4"),
        ({"transcode": False}, "transcode is False"),
    ],
)
def test_what_clt_training_may_say_and_is_not_read(keys, said, tmp_path):
    folder = written_formats.clt_training(tmp_path / "set", "concat").folder
    path = sorted(folder.rglob("cfg.json"))[1]
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))
    assert said in _refusal(folder)


@pytest.mark.parametrize("name", ["clt-training", "clt-training concat"])
def test_tensors_of_clt_training_are_never_read_by_sparsifys_reader(name, tmp_path):
    """With a configuration in which nothing of its own is left, the tensors still tell."""
    folder = VARIANTS[name](tmp_path / "set").folder
    own = {
        "activation": "topk",
        "k": K,
        "num_latents": F,
        "d_in": D,
        "transcode": True,
        "skip_connection": True,
    }
    for path in folder.rglob("cfg.json"):
        path.write_text(json.dumps(own))
    assert "post_enc" in _refusal(folder)


def test_an_offset_of_its_own_for_each_layer_written_to(tmp_path):
    folder = written_formats.clt_training(tmp_path / "set", "concat").folder
    _add(_weights(folder)[0], **{"post_encs.1": torch.ones(F)})
    assert "post_enc differs between the layers" in _refusal(folder)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("normalize_io", True, "in_norm"),
        ("n_targets", 3, "coalesce_topk is 'none'"),
        ("post_encoder_scale", True, "post_enc_scale"),
        ("coalesce_topk", "concat", "coalesce_topk is 'concat'"),
    ],
)
def test_a_key_of_clt_training_without_its_tensors(key, value, said, tmp_path):
    folder = written_formats.sparsify(tmp_path / "set").folder
    for path in folder.rglob("cfg.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "coalesce_topk": "none", key: value}))
    assert said in _refusal(folder)


# CLT-Forge, crosslayer-coding, BluelightAI


def test_a_set_of_clt_forge_in_one_file_a_process(tmp_path):
    folder = written_formats.clt_forge(tmp_path / "set").folder
    (folder / "clt_weights.safetensors").rename(folder / "rank0_clt_weights.safetensors")
    assert "1 files, rank0_clt_weights.safetensors" in (said := _refusal(folder))
    assert "load_from_pretrained(folder).save_model" in said


@pytest.mark.parametrize("key", ["n_layers", "d_in", "d_latent"])
def test_a_configuration_of_clt_forge_for_other_weights(key, tmp_path):
    folder = written_formats.clt_forge(tmp_path / "set").folder
    _configure(folder, **{key: 99})
    assert f"{key} is 99" in _refusal(folder)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"normalization_method": "mean_std"}, "normalization_method is 'mean_std'"),
        ({"activation_fn": "batchtopk", "batchtopk_k": 4}, "activation_fn is 'batchtopk'"),
        ({"tl_input_template": None}, "tl_input_template is missing"),
        ({"mlp_input_template": "model.layers.{}.mlp.input"}, "different points"),
    ],
)
def test_what_crosslayer_coding_may_say_and_is_not_read(keys, said, tmp_path):
    folder = written_formats.crosslayer_coding(tmp_path / "set").folder
    _configure(folder, **keys)
    assert said in _refusal(folder)


def test_a_skip_path_to_another_layer(tmp_path):
    folder = written_formats.crosslayer_coding(tmp_path / "set").folder
    _add(_weights(folder)[0], **{"decoder_module.skip_weights.0->2": torch.ones(D, D)})
    assert "from layer 0 to 2" in _refusal(folder)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"activation": "topk_all"}, "activation is 'topk_all'"),
        ({"decoder_layout": "tied"}, "decoder_layout is 'tied'"),
        ({"layer_indices": [0, 2, 4]}, "layer_indices is [0, 2, 4]"),
        ({"input_attr": None}, "input_attr is missing"),
    ],
)
def test_what_bluelight_may_say_and_is_not_read(keys, said, tmp_path):
    folder = written_formats.bluelight(tmp_path / "set").folder
    _configure(folder, **keys)
    assert said in _refusal(folder)


def test_a_manifest_that_points_elsewhere(tmp_path):
    folder = written_formats.bluelight(tmp_path / "set", parts=True).folder
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "files": ["../other.safetensors"]}))
    assert "../other.safetensors" in _refusal(folder)


# circuit-tracer's first YAML


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{"layer": 0, "filepath": "a"}, {"layer": 0, "filepath": "b"}], "a and b for layer 0"),
        ([{"layer": 0, "filepath": "a"}, {"layer": 2, "filepath": "b"}], "no file for layer 1"),
        ([{"layer": "0", "filepath": "a"}], "a layer's number"),
        ([{"layer": 0, "filepath": "a", "scale": 2}], "scale"),
    ],
)
def test_mappings_that_name_no_file_for_each_layer(entries, said, tmp_path):
    keys = {"feature_input_hook": "mlp.hook_in", "feature_output_hook": "mlp.hook_out"}
    written_formats.config(tmp_path / "set", transcoders=entries, **keys)
    assert said in _refusal(tmp_path / "set")


# Autoencoders


@pytest.mark.parametrize(
    "name",
    [
        "google/gemma-scope-2b-pt-res",
        "google/gemma-scope-9b-it-res/layer_20/width_16k",
        "google/gemma-scope-2b-pt-mlp@main",
        "google/gemma-scope-2b-pt-att-canonical",
        "google/gemma-scope-2-1b-pt/resid_post_all/layer_{layer}_width_16k_l0_small",
        "google/gemma-scope-2-1b-it/attn_out",
    ],
)
def test_gemma_scopes_autoencoders_are_refused_before_they_are_fetched(name):
    with pytest.raises(TranscoderError, match="a graph needs transcoders"):
        load_transcoders(name)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("SAELens", {"architecture": "standard", "metadata": {"hook_name": "blocks.0.hook_resid_post"}}),
        ("SAELens", {"architecture": "matching_pursuit", "residual_threshold": 0.1}),
        ("sparsify", {"transcode": False, "skip_connection": False}),
        ("clt-training", {"transcode": False}),
        ("OpenMOSS", {"hook_point_out": "blocks.0.ln2.hook_normalized"}),
        ("GemmaScope 2", {"hf_hook_point_in": "model.layers.0.output", "hf_hook_point_out": None}),
    ],
)
def test_an_autoencoder_is_refused_with_the_reason(name, keys, tmp_path):
    folder = VARIANTS[name](tmp_path / "set").folder
    _configure(folder, **keys)
    assert "a graph needs transcoders" in _refusal(folder)
