"""A dictionary's own words about where it reads and writes: they agree, or both are named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from pipeline.errors import TranscoderError
from pipeline.model.architectures import ARCHITECTURES
from pipeline.model.replacement_model import check_fit
from pipeline.transcoders import load_transcoders
from tests.support import written_formats
from tests.support.written_formats import D


def _sae_lens(folder: Path, **metadata: object) -> Path:
    """Write a SAELens set whose layers say these things, `{}` standing for the layer."""
    written_formats.sae_lens(folder)
    for index, path in enumerate(sorted(folder.rglob("cfg.json"))):
        said = {
            key: value.format(index) if isinstance(value, str) else value for key, value in metadata.items()
        }
        path.write_text(json.dumps({**json.loads(path.read_text()), "metadata": said}))
    return folder


def _refusal(folder: Path) -> str:
    with pytest.raises(TranscoderError) as raised:
        load_transcoders(str(folder))
    return str(raised.value)


HF = "model.layers.{}.pre_feedforward_layernorm.output"
OUT = {"hook_name_out": "blocks.{}.hook_mlp_out"}


@pytest.mark.parametrize(
    ("said", "reads"),
    [
        ({"hook_name": "blocks.{}.hook_mlp_in"}, "hook_resid_mid"),
        ({"hook_name": "blocks.{}.hook_mlp_in", "hf_hook_name": HF}, "mlp.hook_in"),
        ({"hook_name": "blocks.{}.mlp.hook_in", "hf_hook_name": HF}, "mlp.hook_in"),
        ({"hook_name": "blocks.{}.ln2.hook_normalized"}, "ln2.hook_normalized"),
        ({"hook_name": "blocks.{}.hook_resid_mid"}, "hook_resid_mid"),
        ({"hook_name": HF}, "mlp.hook_in"),
    ],
)
def test_where_a_set_of_saelens_reads(said, reads, tmp_path):
    assert load_transcoders(str(_sae_lens(tmp_path / "set", **said, **OUT))).input_hook == reads


@pytest.mark.parametrize("name", ["ln2.hook_normalized", "hook_resid_mid"])
def test_two_names_of_different_points(name, tmp_path):
    said = _refusal(_sae_lens(tmp_path / "set", hook_name=f"blocks.{{}}.{name}", hf_hook_name=HF, **OUT))
    assert f"hook_name: blocks.0.{name}" in said
    assert f"hf_hook_name: {HF.format(0)}" in said


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"hook_name": "blocks.{}.mlp.hook_in"}, "hook_name_out is missing"),
        (
            {"hook_name": "blocks.{}.mlp.hook_in", "hook_name_out": "blocks.5.hook_mlp_out"},
            "blocks.5.hook_mlp_out",
        ),
        ({"hook_name": "blocks.7.mlp.hook_in", **OUT}, "blocks.7.mlp.hook_in"),
        ({"hook_name": "blocks.{}.mlp.hook_in", "hf_hook_name": HF.format(4), **OUT}, HF.format(4)),
        ({"hook_name": "blocks.{}.hook_mlp_out", **OUT}, "blocks.0.hook_mlp_out"),
        (
            {"hook_name": "blocks.{}.mlp.hook_in", "hook_name_out": "blocks.{}.hook_resid_post"},
            "hook_resid_post",
        ),
        ({"hook_name": "model.layers.{}", **OUT}, "model.layers.0"),
    ],
)
def test_names_that_are_missing_of_another_layer_or_of_no_mlp(said, named, tmp_path):
    assert named in _refusal(_sae_lens(tmp_path / "set", **said))


def test_reads_are_not_offered_as_writes(tmp_path):
    path = written_formats.circuit_tracer_plt(tmp_path / "set").folder / "config.yaml"
    path.write_text(
        yaml.safe_dump({**yaml.safe_load(path.read_text()), "feature_input_hook": "hook_mlp_out"})
    )
    said = _refusal(tmp_path / "set")
    assert "ln2.hook_normalized" in said
    assert "mlp.hook_out" not in said


def test_a_layer_of_gemma_scope_2_in_another_layers_folder(tmp_path):
    folder = written_formats.gemma_scope_2(tmp_path / "set").folder
    paths = sorted(folder.rglob("config.json"))
    shutil.copy(paths[1], paths[2])
    assert "model.layers.1.pre_feedforward_layernorm.output" in _refusal(folder)


def test_a_list_that_contradicts_what_lies_beside_its_files(tmp_path):
    files = written_formats.gemma_scope_2(tmp_path / "files").folder
    entries = [str(path) for path in sorted(files.rglob("params.safetensors"))]
    keys = {"feature_input_hook": "hook_resid_mid", "feature_output_hook": "hook_mlp_out"}
    written_formats.config(tmp_path / "set", model_kind="transcoder_set", transcoders=entries, **keys)
    said = _refusal(tmp_path / "set")
    assert "feature_input_hook: hook_resid_mid" in said
    assert "mlp.hook_in" in said


# Lists, file names and shapes


def _listed(folder: Path, entries: list[str], kind: str = "transcoder_set") -> str:
    keys = {"feature_input_hook": "mlp.hook_in", "feature_output_hook": "hook_mlp_out"}
    written_formats.config(folder, model_kind=kind, transcoders=entries, **keys)
    return _refusal(folder)


def test_a_path_that_a_list_repeats(tmp_path):
    folder = written_formats.gemma_scope_2_clt(tmp_path / "set").folder
    names = [f"params_layer_{index}.safetensors" for index in (0, 1, 2, 2)]
    said = _listed(folder, names, "cross_layer_transcoder")
    assert "lists params_layer_2.safetensors twice" in said


@pytest.mark.parametrize("order", [(2, 1, 0), (0, 2, 1)])
def test_a_list_in_another_order_than_its_names(order, tmp_path):
    folder = written_formats.gemma_scope_2_clt(tmp_path / "set").folder
    names = [f"params_layer_{index}.safetensors" for index in order]
    wrong = next(name for index, name in enumerate(names) if str(index) not in name)
    assert wrong in _listed(folder, names)


@pytest.mark.parametrize(("names", "wrong"), [("ab", "missing"), ("abcd", "too many")])
def test_a_list_of_another_length_than_the_decoders_are_for(names, wrong, tmp_path):
    folder = written_formats.gemma_scope_2_clt(tmp_path / "set").folder
    for index, name in enumerate("abc"):
        (folder / f"params_layer_{index}.safetensors").rename(folder / f"{name}.safetensors")
    shutil.copy(folder / "c.safetensors", folder / "d.safetensors")
    said = _listed(folder, [f"{name}.safetensors" for name in names], "cross_layer_transcoder")
    assert "a model with 3 layers" in said
    assert wrong in said


def test_a_file_beside_the_numbered_ones_is_not_counted(tmp_path):
    folder = written_formats.circuit_tracer_plt(tmp_path / "set").folder
    shutil.copy(folder / "layer_0.safetensors", folder / "layer_0_old.safetensors")
    assert load_transcoders(str(folder)).n_layers == 3


@pytest.mark.parametrize(("layers", "wrong"), [(2, "a file too many"), (4, "a file missing")])
def test_a_set_of_another_length_than_the_model(layers, wrong, tmp_path):
    transcoders = load_transcoders(str(written_formats.circuit_tracer_plt(tmp_path / "set").folder))
    config = SimpleNamespace(hidden_size=D, num_hidden_layers=layers)
    with pytest.raises(TranscoderError, match=wrong):
        check_fit(config, ARCHITECTURES[0], transcoders)
