"""What is wrong with a dictionary's files is said with the file, the tensor, the rule and the way out."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from pipeline.errors import TranscoderError
from pipeline.hub import pin
from pipeline.transcoders.load import load_transcoders
from pipeline.transcoders.tensors.npz import open_npz
from tests.support import written_formats
from tests.support.written_formats import FORMATS, VARIANTS, D, F


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".npz", ".safetensors"))


def _edit(path: Path, **changes: torch.Tensor | None) -> None:
    """Replace tensors of a file, or take away those given as None."""
    if path.suffix == ".npz":
        with np.load(path) as archive:
            arrays = {
                **archive,
                **{key: None if new is None else new.numpy() for key, new in changes.items()},
            }
        np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
        return
    tensors = {**load_file(path), **changes}
    save_file({key: tensor for key, tensor in tensors.items() if tensor is not None}, path)


def _set_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_file_cut_short(name, tmp_path):
    path = _files(VARIANTS[name](tmp_path / "set").folder)[0]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(TranscoderError, match=f"{path.name} is corrupt "):
        load_transcoders(str(tmp_path / "set"))


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * 8 + b"{}", b"not a file of tensors at all"])
@pytest.mark.parametrize("name", ["circuit-tracer", "GemmaScope"])
def test_a_file_that_is_something_else(name, content, tmp_path):
    path = _files(FORMATS[name](tmp_path / "set").folder)[0]
    path.write_bytes(content)
    with pytest.raises(TranscoderError, match=f"{path.name} is corrupt"):
        load_transcoders(str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("circuit-tracer", "W_dec"),
        ("circuit-tracer CLT", "b_dec_0"),
        ("GemmaScope", "threshold"),
        ("GemmaScope 2", "b_enc"),
        ("SAELens", "threshold"),
        ("sparsify", "encoder.bias"),
        ("crosslayer-transcoder", "decoder.W_2"),
        ("crosslayer-transcoder", "input_standardizer.mean"),
    ],
)
def test_a_missing_tensor(name, tensor, tmp_path):
    files = _files(VARIANTS[name](tmp_path / "set").folder)
    path = next(path for path in files if "W_dec_" not in path.name)
    _edit(path, **{tensor: None})
    with pytest.raises(TranscoderError, match=f"{path.name} has no tensor '{tensor}'"):
        load_transcoders(str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("name", "tensor", "expected"),
    [
        ("circuit-tracer", "W_dec", (F, D)),
        ("circuit-tracer", "W_skip", (D, D)),
        ("GemmaScope", "b_enc", (F,)),
        ("GemmaScope 2", "w_dec", (F, D)),
        ("GemmaScope 2 CLT", "w_dec", (F, 3, D)),
        ("SAELens", "b_dec", (D,)),
        ("sparsify", "W_dec", (F, D)),
        ("crosslayer-transcoder", "encoder.b", (3, F)),
        ("crosslayer-transcoder", "decoder.W_0", (1, F, D)),
    ],
)
def test_a_wrong_shape(name, tensor, expected, tmp_path):
    path = _files(VARIANTS[name](tmp_path / "set").folder)[0]
    wrong = torch.zeros([*expected[:-1], expected[-1] + 1])
    _edit(path, **{tensor: wrong})
    with pytest.raises(TranscoderError) as raised:
        load_transcoders(str(tmp_path / "set"))
    said = f"{path.name}: {tensor} has shape {tuple(wrong.shape)}, but must have {expected}"
    assert said in str(raised.value)


@pytest.mark.parametrize("name", ["GemmaScope", "GemmaScope 2", "GemmaScope 2 CLT", "SAELens", "sparsify"])
def test_a_missing_layer(name, tmp_path):
    _files(VARIANTS[name](tmp_path / "set").folder)[1].unlink()
    with pytest.raises(TranscoderError, match="holds 2 layers up to 2, but not 1"):
        load_transcoders(str(tmp_path / "set"))


@pytest.mark.parametrize("name", ["circuit-tracer", "circuit-tracer CLT"])
def test_a_missing_layer_of_numbered_files(name, tmp_path):
    path = _files(VARIANTS[name](tmp_path / "set").folder)[0]
    path.unlink()
    with pytest.raises(TranscoderError, match=f"{path.name} does not exist"):
        load_transcoders(str(tmp_path / "set"))


def test_two_files_for_a_layer(tmp_path):
    folder = written_formats.gemma_scope(tmp_path / "set").folder
    (folder / "layer_1/width_65k").mkdir()
    (folder / "layer_1/width_65k/params.npz").write_bytes(b"")
    with pytest.raises(TranscoderError, match=r"two files for layer 1, .*16k.* and .*65k"):
        load_transcoders(str(folder))


def test_a_file_whose_layer_nothing_says(tmp_path):
    folder = written_formats.gemma_scope(tmp_path / "set").folder
    (folder / "layer_0").rename(folder / "first")
    with pytest.raises(TranscoderError, match="which layer"):
        load_transcoders(str(folder))


def test_a_folder_in_no_known_format(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"1")
    with pytest.raises(TranscoderError, match=r"Looked for circuit-tracer") as raised:
        load_transcoders(str(tmp_path))
    assert all(name in str(raised.value) for name in FORMATS)


@pytest.mark.parametrize("name", ["circuit-tracer", "circuit-tracer CLT"])
def test_circuit_tracers_files_without_their_configuration(name, tmp_path):
    folder = VARIANTS[name](tmp_path / "set").folder
    (folder / "config.yaml").rename(folder / "wandb-config.yaml")
    with pytest.raises(TranscoderError, match=r"write a config\.yaml beside them with model_kind"):
        load_transcoders(str(folder))


class _Payload:
    def __reduce__(self):
        return (Path.touch, (Path("unpickled"),))


def test_nothing_in_an_archive_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = _files(written_formats.gemma_scope(tmp_path / "set").folder)[0]
    np.savez(path, W_enc=np.array([_Payload()], dtype=object))
    with pytest.raises(
        TranscoderError, match=r"W_enc.npy holds object, but must hold 16, 32 or 64 bit floats"
    ):
        load_transcoders(str(tmp_path / "set"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("W_enc.npy", pickle.dumps(_Payload()))
    with pytest.raises(TranscoderError, match=r"params.npz is corrupt"):
        load_transcoders(str(tmp_path / "set"))
    assert not (tmp_path / "unpickled").exists()


def test_an_array_in_fortran_order(tmp_path):
    path = _files(written_formats.gemma_scope(tmp_path / "set").folder)[0]
    np.savez(path, W_enc=np.zeros((D, F), np.float32, order="F"))
    with pytest.raises(TranscoderError, match="float32 in Fortran order, but must"):
        load_transcoders(str(tmp_path / "set"))


def test_an_element_type_that_is_not_read(tmp_path):
    path = _files(written_formats.circuit_tracer_plt(tmp_path / "set").folder)[0]
    _edit(path, b_enc=torch.zeros(F, dtype=torch.float8_e4m3fn))
    with pytest.raises(
        TranscoderError, match="b_enc has element type F8_E4M3, but must have one of F64, F32"
    ):
        load_transcoders(str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("name", "key", "value", "said"),
    [
        ("sparsify", "transcode", False, "transcode is False, so this is an autoencoder"),
        ("sparsify", "k", 0, "k is 0; it must be 1 to 11"),
        ("sparsify", "activation", "groupmax", "activation is 'groupmax'; only topk is read"),
        ("SAELens", "architecture", "standard", "architecture is 'standard'; transcoders have transcoder"),
        ("SAELens", "normalize_activations", "layer_norm", "must be none: fold the normalisation"),
        (
            "SAELens relu, skip",
            "activation_fn_str",
            "tanh-relu",
            "activation_fn is 'tanh-relu'; it must be relu",
        ),
        (
            "SAELens",
            "metadata",
            {"hook_name": "blocks.0.hook_resid_pre"},
            "hook_name is 'blocks.0.hook_resid_pre'; transcoders read at",
        ),
    ],
)
def test_a_layers_configuration_that_cannot_be_used(name, key, value, said, tmp_path):
    folder = VARIANTS[name](tmp_path / "set").folder
    path = sorted(folder.rglob("cfg.json"))[0]
    changes = {"skip_connection": False} if key == "transcode" else {}
    _set_json(path, **{key: value}, **changes)
    with pytest.raises(TranscoderError) as raised:
        load_transcoders(str(folder))
    assert said in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("content", [None, "no JSON", "[1, 2]"])
def test_a_layers_configuration_that_cannot_be_read(content, tmp_path):
    path = sorted(written_formats.sparsify(tmp_path / "set").folder.rglob("cfg.json"))[1]
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(TranscoderError, match=r"cfg.json (is missing|is not readable as JSON|holds list)"):
        load_transcoders(str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model_kind", "autoencoder", "model_kind is 'autoencoder'; it must be 'transcoder_set' or"),
        (
            "feature_input_hook",
            "hook_resid_pre",
            "feature_input_hook is 'hook_resid_pre'; transcoders read at",
        ),
        (
            "transcoders",
            "layer_0.safetensors",
            "transcoders is 'layer_0.safetensors', but must list the name of one file",
        ),
        (
            "transcoders",
            ["first.safetensors"],
            "first.safetensors does not exist",
        ),
    ],
)
def test_a_sets_configuration_that_cannot_be_used(key, value, said, tmp_path):
    path = written_formats.circuit_tracer_plt(tmp_path / "set").folder / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), key: value}))
    with pytest.raises(TranscoderError) as raised:
        load_transcoders(str(tmp_path / "set"))
    assert said in str(raised.value)


ALIASES = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    + ["transcoders: *a11"]
)
"""Entries that stand for 9 to the power of 12 words."""


@pytest.mark.parametrize(
    "content",
    [
        ALIASES,
        "a: " + "[" * 50_000,
        "a: 2026-13-45",
        "a: " + "1" * 5000,
        "a: 1" + ":59" * 200_000,
    ],
    ids=["aliases", "deep", "date", "digits", "sexagesimal"],
)
def test_a_sets_configuration_that_is_meant_to_exhaust_the_machine(content, tmp_path):
    path = written_formats.circuit_tracer_plt(tmp_path / "set").folder / "config.yaml"
    path.write_text(content)
    assert pin(str(tmp_path / "set"), "transcoders").listed_commits == {}
    with pytest.raises(TranscoderError, match="is not readable as YAML") as raised:
        load_transcoders(str(tmp_path / "set"))
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("entries", [[["layer_0.safetensors"]], [{"a": "b"}], [1], "*"])
def test_listed_files_are_named_by_words(entries, tmp_path):
    path = written_formats.circuit_tracer_plt(tmp_path / "set").folder / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "transcoders": entries}))
    with pytest.raises(
        TranscoderError, match=r"must list the name of one file a layer|an entry has a layer's number"
    ):
        load_transcoders(str(tmp_path / "set"))


def test_a_compressed_file_that_fills_the_memory(tmp_path):
    path = tmp_path / "params.npz"
    np.savez_compressed(path, W_enc=np.zeros((4096, 8192), np.float32))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(TranscoderError, match=r"W_enc.npy has .* bytes that are to unpack to 134,217,728"):
        open_npz(path)
    np.savez_compressed(path, **{f"b{n}": np.zeros(1 << 20, np.float32) for n in range(6)})
    with pytest.raises(TranscoderError, match=r"b4.npy has"):
        open_npz(path)
    np.savez_compressed(path, b_enc=np.zeros(8192, np.float32))
    assert torch.equal(open_npz(path).read("b_enc"), torch.zeros(8192))


@pytest.mark.parametrize("content", ["a: [", "- a\n- b\n", "\0\0"])
def test_a_sets_configuration_that_cannot_be_read(content, tmp_path):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(TranscoderError, match=r"config.yaml (is not readable as YAML|holds list)"):
        load_transcoders(str(tmp_path))


def test_a_standardiser_that_is_not_linear(tmp_path):
    path = written_formats.crosslayer_transcoder(tmp_path / "set").folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["model"]["init_args"]["input_standardizer"]["class_path"] = "model.SamplewiseInputStandardizer"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(
        TranscoderError, match="SamplewiseInputStandardizer, which is not linear in its input"
    ):
        load_transcoders(str(tmp_path / "set"))


def test_autoencoders_of_the_residual_stream_are_refused(tmp_path):
    folder = written_formats.gemma_scope_2(tmp_path / "set").folder
    path = sorted(folder.rglob("config.json"))[0]
    _set_json(path, hf_hook_point_in="model.layers.0.output")
    with pytest.raises(
        TranscoderError, match=r"hf_hook_point_in is 'model.layers.0.output'; transcoders read at "
    ):
        load_transcoders(str(folder))


def test_a_file_that_shrinks_after_it_was_opened(tmp_path):
    folder = written_formats.circuit_tracer_plt(tmp_path / "set").folder
    transcoders = load_transcoders(str(folder), lazy_encoder=True)
    path = folder / "layer_0.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TranscoderError, match="has shrunk: fetch it again"):
        transcoders.layers[0].decoder_rows(torch.arange(F), 0)


def test_a_hook_point_that_is_no_mlp(tmp_path):
    folder = written_formats.sparsify(tmp_path / "set").folder
    (folder / "layers.1.mlp").rename(folder / "layers.1")
    with pytest.raises(TranscoderError, match=r"hook point 'layers.1' is not an MLP"):
        load_transcoders(str(folder))


def test_layers_that_read_at_different_points(tmp_path):
    path = sorted(written_formats.sae_lens(tmp_path / "set").folder.rglob("cfg.json"))[1]
    hooks = {"hook_name": "blocks.1.mlp.hook_in", "hook_name_out": "blocks.1.hook_mlp_out"}
    _set_json(path, metadata=hooks)
    with pytest.raises(TranscoderError, match=r"layers read at hook_resid_mid .* and mlp.hook_in"):
        load_transcoders(str(tmp_path / "set"))
