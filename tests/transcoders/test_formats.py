"""Every format against its own formula, and known by what its folder holds."""

from __future__ import annotations

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import TopK
from pipeline.transcoders.formats import FORMATS, circuit_tracer, format_of, table
from pipeline.transcoders.load import load_transcoders
from pipeline.transcoders.transcoders import Transcoders
from tests.support import written_formats
from tests.support.written_formats import VARIANTS, D, F, K, L


def run(transcoders: Transcoders, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Encode and decode with nothing but what the engine uses."""
    outputs = torch.stack(
        [layer.decoder_bias.expand(inputs.shape[1], -1) for layer in transcoders.layers]
    ).clone()
    activations = []
    for index, layer in enumerate(transcoders.layers):
        active = layer.encode(inputs[index])
        features = torch.arange(layer.n_features, device=inputs.device)
        for write in range(layer.decoder.shape[1]):
            outputs[index + write] += active @ layer.decoder_rows(features, write)
        if layer.skip is not None:
            outputs[index] += inputs[index] @ layer.skip
        activations.append(active)
    return torch.stack(activations), outputs


@pytest.mark.parametrize("lazy_encoder", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_agrees_with_the_formats_formula(name, lazy_encoder, tmp_path):
    torch.manual_seed(0)
    written = VARIANTS[name](tmp_path / "set")
    transcoders = load_transcoders(str(written.folder), lazy_encoder).to("cpu", torch.float32)
    inputs = torch.randn(L, 5, D)
    activations, outputs = run(transcoders, inputs)
    expected_activations, expected_outputs = written.formula(inputs)
    assert expected_activations.ne(0).any()
    assert expected_activations.eq(0).any()
    torch.testing.assert_close(activations, expected_activations, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outputs, expected_outputs, rtol=1e-5, atol=1e-5)
    assert (transcoders.input_hook, transcoders.output_hook) == written.hooks
    reach = [layer.decoder.shape[1] for layer in transcoders.layers]
    assert reach == ([3, 2, 1] if written.cross_layer else [1, 1, 1])


def test_a_square_decoder_of_circuit_tracers_first_version_lies_across_too(tmp_path):
    written = written_formats.circuit_tracer_first(tmp_path / "set", features=D)
    inputs = torch.randn(L, 5, D)
    for mine, expected in zip(
        run(load_transcoders(str(written.folder)), inputs), written.formula(inputs), strict=True
    ):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["circuit-tracer", "circuit-tracer relu"])
def test_a_decoder_that_lies_across_is_turned_in_newer_versions_as_well(name, tmp_path):
    written = VARIANTS[name](tmp_path / "set")
    for path in written.folder.glob("layer_*"):
        tensors = load_file(path)
        save_file({**tensors, "W_dec": tensors["W_dec"].T.contiguous()}, path)
    inputs = torch.randn(L, 5, D)
    for mine, expected in zip(
        run(load_transcoders(str(written.folder)), inputs), written.formula(inputs), strict=True
    ):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("lazy_encoder", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_a_device_gets_the_same(name, lazy_encoder, tmp_path):
    torch.manual_seed(0)
    written = VARIANTS[name](tmp_path / "set")
    transcoders = load_transcoders(str(written.folder), lazy_encoder).to("cuda", torch.float64)
    inputs = torch.randn(L, 5, D, dtype=torch.float64, device="cuda")
    for mine, expected in zip(run(transcoders, inputs), written.formula(inputs.cpu().float()), strict=True):
        assert mine.device.type == "cuda"
        torch.testing.assert_close(mine.cpu().float(), expected, rtol=1e-4, atol=1e-4)
    rows = transcoders.layers[0].encoder[torch.tensor([2, 0], device="cuda")]
    assert (rows.device.type, rows.dtype) == ("cuda", torch.float64)


@pytest.mark.parametrize("name", VARIANTS)
def test_rows_are_the_same_however_they_are_read(name, tmp_path):
    torch.manual_seed(1)
    folder = str(VARIANTS[name](tmp_path / "set").folder)
    features = torch.tensor([3, 0, 7, 3, F - 1])
    held, lazy = load_transcoders(folder), load_transcoders(folder, lazy_encoder=True)
    for whole, stored in zip(held.layers, lazy.layers, strict=True):
        assert torch.equal(whole.encoder[features], stored.encoder[features])
        decoder = stored.decoder.whole()
        for write in range(decoder.shape[1]):
            assert torch.equal(decoder[features, write], stored.decoder_rows(features, write))


@pytest.mark.parametrize("name", written_formats.FORMATS)
def test_a_folder_is_known_by_what_it_holds(name, tmp_path):
    assert format_of(written_formats.FORMATS[name](tmp_path / "set").folder).name == name


def test_every_format_is_written_by_a_test():
    assert {known.name for known in FORMATS} == set(written_formats.FORMATS)


def test_the_table_has_a_row_for_each_format():
    lines = table().splitlines()
    assert len(lines) == 2 + len(FORMATS)
    assert all(line.startswith("| ") and line.count("|") == 6 for line in lines)


@pytest.mark.parametrize(
    "name",
    [
        *("GemmaScope", "GemmaScope 2", "GemmaScope 2 CLT", "SAELens", "sparsify"),
        *("OpenMOSS", "OpenMOSS topk", "clt-training"),
    ],
)
def test_a_configuration_may_list_files_of_another_format(name, tmp_path):
    torch.manual_seed(2)
    written = VARIANTS[name](tmp_path / "files")
    found = sorted(path for path in written.folder.rglob("*") if path.suffix in (".npz", ".safetensors"))
    written_formats.config(
        tmp_path / "set",
        model_kind="cross_layer_transcoder" if written.cross_layer else "transcoder_set",
        feature_input_hook=written.hooks[0],
        feature_output_hook=written.hooks[1],
        transcoders=[f"../files/{path.relative_to(written.folder)}" for path in found],
    )
    transcoders = load_transcoders(str(tmp_path / "set"))
    inputs = torch.randn(L, 4, D)
    for mine, expected in zip(run(transcoders, inputs), written.formula(inputs), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5)
    assert (transcoders.input_hook, transcoders.output_hook) == written.hooks


def test_formats_may_be_mixed_in_one_set(tmp_path):
    first = written_formats.gemma_scope(tmp_path / "npz")
    rest = written_formats.gemma_scope_2(tmp_path / "safetensors", affine=False)
    paths = [
        next(first.folder.rglob("layer_0/**/params.npz")),
        *sorted(rest.folder.rglob("params.safetensors"))[1:],
    ]
    keys = {"feature_input_hook": "mlp.hook_in", "feature_output_hook": "hook_mlp_out"}
    entries = [str(path) for path in paths]
    written_formats.config(tmp_path / "set", model_kind="transcoder_set", transcoders=entries, **keys)
    inputs = torch.randn(L, 4, D)
    _, outputs = run(load_transcoders(str(tmp_path / "set")), inputs)
    expected = torch.cat((first.formula(inputs)[1][:1], rest.formula(inputs)[1][1:]))
    torch.testing.assert_close(outputs, expected, rtol=1e-5, atol=1e-5)


def test_a_negative_value_among_the_k_largest_is_kept_by_circuit_tracer_alone():
    values = torch.tensor([[-1.0, -2.0, 3.0, -4.0]])
    assert TopK(2)(values).tolist() == [[-1.0, 0.0, 3.0, 0.0]]
    assert TopK(2, rectified=True)(values).tolist() == [[0.0, 0.0, 3.0, 0.0]]


@pytest.mark.parametrize("where", ["config", "file"])
def test_where_a_top_k_set_says_k(where, tmp_path):
    folder = written_formats.circuit_tracer_plt(tmp_path / "set", "relu", skip=False).folder
    if where == "config":
        config = yaml.safe_load((folder / "config.yaml").read_text())
        written_formats.config(folder, **config, activation="topk", k=K)
    else:
        for path in folder.glob("*.safetensors"):
            save_file({**load_file(path), "k": torch.tensor(K)}, path)
    assert {layer.activation for layer in load_transcoders(str(folder)).layers} == {TopK(K)}


@pytest.mark.parametrize("name", ["facebook/crv-8b-instruct-transcoders", "facebook/another-set"])
def test_the_published_set_that_does_not_say_its_k(name, tmp_path):
    hooks = {"feature_input_hook": "mlp.hook_in", "feature_output_hook": "mlp.hook_out"}
    written_formats.config(tmp_path, model_kind="transcoder_set", activation="topk", **hooks)
    shapes = {"W_enc": (130, D), "b_enc": (130,), "W_dec": (130, D), "b_dec": (D,)}
    save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, tmp_path / "layer_0.safetensors")
    if name.endswith("another-set"):
        with pytest.raises(TranscoderError, match="k is None; it must be 1 to 130: write `k: 128`"):
            circuit_tracer.read(tmp_path, f"{name}@main")
    else:
        assert circuit_tracer.read(tmp_path, f"{name}@main").layers[0].activation == TopK(128)
