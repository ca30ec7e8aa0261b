"""Loading a model with its dictionary: what does not fit is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from pipeline import ReplacementModel
from pipeline.errors import ModelError, TranscoderError
from tests.support.fresh_process import in_fresh_process
from tests.support.loading_bytes import loading_bytes


@pytest.fixture
def folders(golden_case, tmp_path: Path) -> tuple[Path, Path]:
    """A model and its transcoders that a test may spoil."""
    case = golden_case("llama_plt_relu")
    shutil.copytree(case.model_folder, tmp_path / "model")
    shutil.copytree(case.transcoders, tmp_path / "transcoders")
    return tmp_path / "model", tmp_path / "transcoders"


def _load(folders: tuple[Path, Path]) -> ReplacementModel:
    return ReplacementModel.from_pretrained(str(folders[0]), transcoders=str(folders[1]), device="cpu")


def _edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def _edit_layer(folder: Path, change) -> None:
    path = folder / "layer_1.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def test_it_knows_its_model(folders):
    model = _load(folders)
    assert (model.n_layers, model.d_model, model.vocabulary_size, model.context_length) == (3, 48, 320, 128)
    assert model.architecture.name == "Llama"
    assert len(repr(model)) < 300


def test_hidden_states_reproduce_the_reference_logits(golden_case):
    case = golden_case("gemma2_plt_jumprelu")
    expected = case.result("prompt0")
    frozen = case.model.freeze(expected["input_tokens"])
    torch.testing.assert_close(frozen.logits, expected["hf_logits"][-1], atol=1e-4, rtol=0)
    errors = torch.stack([layer.error for layer in frozen.layers])
    torch.testing.assert_close(errors, expected["error_vectors"], atol=1e-4, rtol=0)


def test_a_missing_model_is_named():
    with pytest.raises(ModelError, match=r"'\./nowhere' not found"):
        ReplacementModel.from_pretrained("./nowhere", transcoders="./nowhere")


def test_an_unsupported_family_is_named_with_those_supported(folders):
    path = folders[0] / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "bert"}))
    with pytest.raises(ModelError, match=r"'bert' is not supported; supported are Llama \(llama\).*Gemma 2"):
        _load(folders)


def test_layers_that_differ_are_refused(folders):
    (folders[1] / "layer_2.safetensors").unlink()
    _edit_config(folders[1], transcoders=["layer_0.safetensors", "layer_1.safetensors"])
    with pytest.raises(TranscoderError, match="have 2 layers, the model has 3"):
        _load(folders)


def test_a_width_that_differs_is_refused(folders):
    for path in folders[1].glob("layer_*.safetensors"):
        tensors = {
            name: tensor[..., :40] if name != "b_enc" else tensor for name, tensor in load_file(path).items()
        }
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    with pytest.raises(TranscoderError, match="have d_model 40, the model has 48"):
        _load(folders)


@pytest.mark.parametrize(
    ("hook", "value", "message"),
    [
        ("feature_input_hook", "hook_resid_post", "transcoders read at hook_resid_mid"),
        ("feature_output_hook", "hook_resid_mid", "transcoders write at mlp.hook_out, hook_mlp_out"),
    ],
)
def test_hook_points_that_do_not_exist_are_refused(folders, hook, value, message):
    _edit_config(folders[1], **{hook: value})
    with pytest.raises(TranscoderError, match=message):
        _load(folders)


def test_gemma_does_not_write_before_its_norm(golden_case, tmp_path):
    case = golden_case("gemma2_plt_jumprelu")
    folder = shutil.copytree(case.transcoders, tmp_path / "transcoders")
    _edit_config(folder, feature_output_hook="mlp.hook_out")
    with pytest.raises(TranscoderError, match="Gemma 2 does not have: it writes at hook_mlp_out"):
        _load((case.model_folder, folder))


def test_a_truncated_file_is_called_corrupt(folders):
    path = folders[1] / "layer_1.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TranscoderError, match=r"layer_1\.safetensors is corrupt"):
        _load(folders)


def test_a_missing_tensor_is_named(folders):
    _edit_layer(folders[1], lambda tensors: tensors.pop("b_enc"))
    with pytest.raises(TranscoderError, match="has no tensor 'b_enc'; it holds W_dec, W_enc, b_dec"):
        _load(folders)


def test_a_wrong_shape_is_named(folders):
    _edit_layer(folders[1], lambda tensors: tensors.update(W_dec=tensors["W_dec"][:-1]))
    with pytest.raises(TranscoderError, match=r"W_dec has shape \(\d+, 48\), but must have \(\d+, 48\)"):
        _load(folders)


def test_topk_needs_k(golden_case, tmp_path):
    case = golden_case("llama_plt_topk")
    folder = shutil.copytree(case.transcoders, tmp_path / "transcoders")
    _edit_config(folder, k=None)
    with pytest.raises(TranscoderError, match="activation is topk, but k is None"):
        _load((case.model_folder, folder))


@pytest.mark.parametrize(("text", "message"), [("", "must hold keys"), ("a: [", "not readable as YAML")])
def test_an_unreadable_configuration_is_named(folders, text, message):
    (folders[1] / "config.yaml").write_text(text)
    with pytest.raises(TranscoderError, match=message):
        _load(folders)


def test_a_folder_without_configuration_is_named(folders):
    (folders[1] / "config.yaml").unlink()
    with pytest.raises(TranscoderError, match=r"config\.yaml"):
        _load(folders)


def test_each_tensor_is_loaded_onto_its_own_device(folders):
    devices = ["cpu", "meta"]  # the second holds shapes alone, so that nothing can be moved back from it
    model = ReplacementModel.from_pretrained(str(folders[0]), str(folders[1]), devices)
    assert [str(device) for device in model.devices] == devices
    assert {parameter.device.type for parameter in model.model.model.layers[-1].parameters()} == {"meta"}
    outside = (model.model.model.embed_tokens, model.model.model.norm, model.model.lm_head)
    assert {parameter.device.type for part in outside for parameter in part.parameters()} == {"cpu"}


def test_the_host_never_holds_a_model_that_goes_to_a_device(tmp_path):
    config = LlamaConfig(
        vocab_size=2000, hidden_size=512, intermediate_size=2048, num_hidden_layers=8, num_attention_heads=8
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "model")
    size = 4 * sum(parameter.numel() for parameter in model.parameters())  # as float32
    assert in_fresh_process(loading_bytes, str(tmp_path / "model"), "meta") < size / 4
    assert in_fresh_process(loading_bytes, str(tmp_path / "model"), "cpu") > size


def test_transcoders_of_another_model_are_refused_before_weights_are_read(folders):
    (folders[0] / "model.safetensors").write_bytes(b"damaged")
    config = json.loads((folders[0] / "config.json").read_text())
    (folders[0] / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 4}))
    with pytest.raises(TranscoderError, match="have 3 layers, the model has 4"):
        _load(folders)
