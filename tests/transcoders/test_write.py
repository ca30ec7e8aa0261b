"""Writing in circuit-tracer's format, and the command that does it: what comes back is the same bits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from jobs import cli, convert
from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import Activation, Gated, JumpReLU, ReLU, TopK, per_feature
from pipeline.transcoders.formats import format_of
from pipeline.transcoders.load import load_transcoders
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from pipeline.transcoders.write import write_transcoders
from tests.support import written_formats
from tests.support.written_formats import FORMATS, VARIANTS, D, F, L

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def assert_same(mine: Transcoders, theirs: Transcoders) -> None:
    assert (mine.input_hook, mine.output_hook) == (theirs.input_hook, theirs.output_hook)
    assert mine.name == theirs.name
    for left, right in zip(_held(mine), _held(theirs), strict=True):
        assert left.keys() == right.keys()
        for key in left:
            if isinstance(left[key], torch.Tensor):
                assert left[key].dtype == right[key].dtype, key
                assert torch.equal(left[key], right[key]), key
            else:
                assert left[key] == right[key], key


def _held(transcoders: Transcoders) -> list[dict]:
    held = []
    for layer in transcoders.layers:
        values = {field.name: getattr(layer, field.name) for field in dataclasses.fields(layer)}
        values |= {key: value.whole() for key, value in values.items() if hasattr(value, "whole")}
        numbers = []
        per_feature(layer.activation, lambda part, numbers=numbers: numbers.append(part) or part)
        values |= {f"activation {index}": part for index, part in enumerate(numbers)}
        gate = layer.activation.gate if isinstance(layer.activation, Gated) else layer.activation
        values["activation"] = gate if isinstance(gate, TopK) else type(gate)
        held.append(values)
    return held


@st.composite
def dictionaries(draw) -> Transcoders:
    n_layers, features, width = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 7))
    cross_layer, skip = draw(st.booleans()), draw(st.booleans())
    dtype = draw(st.sampled_from(list(DTYPES.values())))
    kinds = draw(st.sampled_from(["relu", "jumprelu", "topk", "rectified", "mixed", "gated"]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    def activation(index: int) -> Activation:
        kind = ("topk", "relu", "jumprelu")[index % 3] if kinds == "mixed" else kinds
        if kind == "gated":
            gate = (TopK(draw(st.integers(1, features))), JumpReLU(random(features)), ReLU())[index % 3]
            return Gated(gate, random(features).abs(), random(features) if index else None)
        if kind == "jumprelu":
            return JumpReLU(random(features))
        return ReLU() if kind == "relu" else TopK(draw(st.integers(1, features)), kind == "rectified")

    layers = tuple(
        TranscoderLayer(
            encoder=random(features, width),
            encoder_bias=random(features),
            decoder=random(features, n_layers - index if cross_layer else 1, width),
            decoder_bias=random(width),
            activation=activation(index),
            skip=random(width, width) if skip else None,
        )
        for index in range(n_layers)
    )
    return Transcoders(layers, "mlp.hook_in", "hook_mlp_out", "a set")


@settings(max_examples=40, deadline=None)
@given(dictionaries())
def test_reading_what_was_written_gives_the_same_bits(tmp_path_factory, transcoders):
    folder = tmp_path_factory.mktemp("round") / "set"
    write_transcoders(transcoders, folder)
    assert_same(load_transcoders(str(folder)), transcoders)


@pytest.mark.parametrize("name", VARIANTS)
def test_any_format_converts_to_circuit_tracers(name, tmp_path, capsys):
    written = VARIANTS[name](tmp_path / "from")
    words = ["--for-circuit-sweep"]
    assert convert.main([str(written.folder), str(tmp_path / "to"), *words]) == 0
    assert "3 layers of 11 features" in capsys.readouterr().out
    converted = load_transcoders(str(tmp_path / "to"))
    assert format_of(tmp_path / "to").name == "circuit-tracer"
    assert_same(converted, load_transcoders(str(written.folder)))
    assert convert.main([str(tmp_path / "to"), str(tmp_path / "again"), *words]) == 0
    for path in (tmp_path / "to").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_precision_may_be_asked_for(dtype, tmp_path):
    written = written_formats.circuit_tracer_plt(tmp_path / "from")
    convert.main([str(written.folder), str(tmp_path / "to"), "--dtype", dtype, "--model-name", "org/model"])
    before, after = (load_file(tmp_path / folder / "layer_1.safetensors") for folder in ("from", "to"))
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        assert torch.equal(after[key], tensor.to(DTYPES[dtype])), key
    assert yaml.safe_load((tmp_path / "to/config.yaml").read_text())["model_name"] == "org/model"


def test_circuit_tracer_finds_the_keys_it_knows(tmp_path):
    source = FORMATS["sparsify"](tmp_path / "from").folder
    convert.main([str(source), str(tmp_path / "to"), "--for-circuit-sweep"])
    config = yaml.safe_load((tmp_path / "to/config.yaml").read_text())
    assert (config["model_kind"], config["activation"], config["k"]) == ("transcoder_set", "topk", 4)
    shapes = {
        key: tuple(value.shape) for key, value in load_file(tmp_path / "to/layer_0.safetensors").items()
    }
    plain = {"W_enc": (F, D), "b_enc": (F,), "W_dec": (F, D), "b_dec": (D,), "W_skip": (D, D)}
    assert shapes == plain  # with a `k` beside them circuit-tracer refuses the file


def test_decoders_that_stop_short_are_filled_up_with_zeros(tmp_path):
    clt = load_transcoders(str(written_formats.circuit_tracer_clt(tmp_path / "from").folder))
    short = dataclasses.replace(clt.layers[0], decoder=clt.layers[0].decoder.whole()[:, :2])
    write_transcoders(dataclasses.replace(clt, layers=(short, *clt.layers[1:])), tmp_path / "to")
    decoder = load_transcoders(str(tmp_path / "to")).layers[0].decoder.whole()
    assert torch.equal(decoder[:, :2], short.decoder)
    assert decoder.shape[1] == L
    assert not decoder[:, 2].any()


def test_a_folder_that_holds_something_is_not_written_to(tmp_path, capsys):
    source = written_formats.circuit_tracer_plt(tmp_path / "from").folder
    (tmp_path / "to").mkdir()
    (tmp_path / "to/notes.txt").write_text("mine")
    assert cli.main(["convert", str(source), str(tmp_path / "to")]) == cli.BAD_INPUT
    assert "already holds something: name a folder that does not exist yet" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["notes.txt"]


def test_top_k_of_two_kinds_cannot_be_written(tmp_path):
    transcoders = load_transcoders(str(written_formats.circuit_tracer_plt(tmp_path / "from").folder))
    layers = [
        dataclasses.replace(layer, activation=TopK(2, rectified=index == 1))
        for index, layer in enumerate(transcoders.layers)
    ]
    with pytest.raises(TranscoderError, match="rectified and unrectified TopK in one set"):
        write_transcoders(dataclasses.replace(transcoders, layers=tuple(layers)), tmp_path / "to")
    assert not (tmp_path / "to").exists()


def _expected(folder: Path, cross_layer: bool) -> tuple[set[str], bool, bool]:
    """Say by the files alone what circuit-tracer 0.5.0's loaders do not look at."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    names = {name for path in folder.glob("*.safetensors") for name in load_file(path)}
    top_k = config.get("activation") == "topk" or any(name == "k" or name.startswith("k_") for name in names)
    return names, top_k, cross_layer and any(name.startswith("W_skip_") for name in names)


@pytest.mark.parametrize("name", VARIANTS)
def test_what_circuit_tracer_does_not_read_is_refused(name, tmp_path, capsys):
    written = VARIANTS[name](tmp_path / "from")
    convert.main([str(written.folder), str(tmp_path / "all"), "--for-circuit-sweep"])
    said = capsys.readouterr().out
    _, top_k, skip = _expected(tmp_path / "all", written.cross_layer)
    assert ("TopK is read as ReLU" in said, "skip paths" in said) == (top_k, skip)
    code = cli.main(["convert", str(written.folder), str(tmp_path / "to")])
    assert code == (cli.BAD_INPUT if top_k or skip else 0)
    assert (tmp_path / "to").exists() == (code == 0)


def test_a_k_that_differs_by_layer_is_refused(tmp_path, capsys):
    transcoders = load_transcoders(str(written_formats.circuit_tracer_plt(tmp_path / "from").folder))
    layers = [
        dataclasses.replace(layer, activation=TopK(index + 1))
        for index, layer in enumerate(transcoders.layers)
    ]
    write_transcoders(dataclasses.replace(transcoders, layers=tuple(layers)), tmp_path / "mixed")
    assert cli.main(["convert", str(tmp_path / "mixed"), str(tmp_path / "to")]) == cli.BAD_INPUT
    assert "k differs by layer" in capsys.readouterr().err
