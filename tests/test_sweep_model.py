"""A sweep's model is loaded again as it was, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from pipeline import ReplacementModel
from pipeline.errors import ConfigurationError
from pipeline.export import export
from pipeline.hub import Kind
from pipeline.results import Results
from pipeline.store import Output
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.engine import Engine
from pipeline.sweep.inputs import open_inputs
from pipeline.sweep.run import described, engine_config
from pipeline.sweep_model import pin_input, recorded_model
from tests.support.commands import command
from tests.support.hub_cache import HubCache
from tests.support.tiny_model import WORDS, make_model, make_transcoders

KINDS: tuple[Kind, Kind] = ("model", "transcoders")


def swept(folder: Path, names: dict[Kind, str], **run: object) -> Output:
    """Return an output that says that a sweep used these."""
    pinned = {kind: {"name": names[kind], **pin_input(names[kind], kind).fingerprint} for kind in KINDS}
    output = Output(folder)
    output.claim({"dtype": "float32", **pinned, **run}, 1)
    return output


def test_a_folder_is_used_again_or_refused_once_it_changed(model_folder: Path, tmp_path: Path) -> None:
    names: dict[Kind, str] = {kind: str(model_folder / kind) for kind in KINDS}
    output = swept(tmp_path / "output", names)
    used = recorded_model(output)
    assert {"model": used.model.name, "transcoders": used.transcoders.name} == names
    (model_folder / "transcoders" / "layer_0.safetensors").write_bytes(b"other")
    with pytest.raises(ConfigurationError, match=f"transcoders '{names['transcoders']}' changed"):
        recorded_model(output)


def test_the_word_demo_stays_a_word(tmp_path: Path) -> None:
    used = recorded_model(swept(tmp_path / "output", {"model": "demo", "transcoders": "demo"}))
    assert (used.model.name, used.transcoders.name) == ("demo", "demo")
    assert used.model.folder is not None
    assert used.load("cpu").n_layers == ReplacementModel.from_pretrained("demo", "demo", "cpu").n_layers


def test_the_recorded_precision_is_used(model_folder: Path, tmp_path: Path) -> None:
    names: dict[Kind, str] = {kind: str(model_folder / kind) for kind in KINDS}
    model = recorded_model(swept(tmp_path / "output", names, dtype="bfloat16")).load("cpu")
    assert model.unembedding.dtype == torch.bfloat16


def test_an_output_cannot_have_foreign_code_run_by_itself(model_folder: Path, tmp_path: Path) -> None:
    names: dict[Kind, str] = {kind: str(model_folder / kind) for kind in KINDS}
    output = swept(tmp_path / "output", names, trust_remote_code=True)
    with pytest.raises(ConfigurationError, match="--trust-remote-code"):
        recorded_model(output)
    assert recorded_model(output, trust_remote_code=True).trust_remote_code
    assert not recorded_model(swept(tmp_path / "other", names)).trust_remote_code


def test_after_main_has_moved_the_recorded_commit_is_loaded(hub_cache: HubCache, tmp_path: Path) -> None:
    first = Path(make_model(tmp_path / "first", seed=0))
    commit = hub_cache.commit("org/model", first)
    set_commit = hub_cache.commit("org/set", Path(make_transcoders(tmp_path / "set")))
    output = swept(tmp_path / "output", {"model": "org/model", "transcoders": "org/set@main"})
    hub_cache.commit("org/model", Path(make_model(tmp_path / "second", seed=1)))
    hub_cache.commit("org/set", Path(make_transcoders(tmp_path / "other", scale=0.5)))
    used = recorded_model(output)
    assert used.model.name == f"org/model@{commit}"
    assert used.transcoders.name == f"org/set@{set_commit}"
    loaded, expected = (
        used.load("cpu"),
        ReplacementModel.from_pretrained(str(first), str(tmp_path / "set"), "cpu"),
    )
    assert torch.equal(loaded.unembedding, expected.unembedding)
    for mine, theirs in zip(loaded.transcoders.layers, expected.transcoders.layers, strict=True):
        assert torch.equal(mine.encoder, theirs.encoder)


@pytest.mark.parametrize("on_hub", [False, True])
def test_listed_files_are_loaded_at_their_recorded_commits(
    on_hub: bool, hub_cache: HubCache, make_config: Callable[..., SweepConfig], tmp_path: Path
) -> None:
    scales = (0.1, 0.3, 0.5)
    parts = [Path(make_transcoders(tmp_path / f"part_{scale}", scale=scale)) for scale in scales]
    old, now = (hub_cache.commit("org/part", part) for part in parts[:2])
    listing = [f"hf://org/part/layer_0.safetensors?revision={old}", "hf://org/part/layer_1.safetensors"]
    values = yaml.safe_load((parts[0] / "config.yaml").read_text()) | {"transcoders": listing}
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    if on_hub:
        hub_cache.commit("org/set", folder)
    name = "org/set" if on_hub else str(folder)
    config = make_config([{"prompt": "w1 w2"}], transcoders=name)
    inputs = open_inputs(config)
    assert inputs.transcoders.listed_commits == {
        f"hf://org/part?revision={old}": old,
        "hf://org/part": now,
    }
    output = Output(tmp_path / "recorded")
    output.claim(described(config, inputs), inputs.run_key)

    hub_cache.commit("org/part", parts[2])

    worker = Engine(engine_config(config, inputs)).model
    later = recorded_model(output).load("cpu")
    for model in (worker, later):
        for index, layer in enumerate(model.transcoders.layers):
            stored = load_file(parts[index] / f"layer_{index}.safetensors")["W_enc"]
            assert torch.equal(layer.encoder.cpu(), stored)
    assert open_inputs(config).run_key != inputs.run_key, "a new sweep takes the weights of now"


def test_a_folder_whose_list_changed_is_refused(
    hub_cache: HubCache, model_folder: Path, tmp_path: Path
) -> None:
    hub_cache.commit("org/part", Path(make_transcoders(tmp_path / "part")))
    config = model_folder / "transcoders" / "config.yaml"
    values = yaml.safe_load(config.read_text())
    listing = [f"hf://org/part/layer_{layer}.safetensors" for layer in range(2)]
    config.write_text(yaml.safe_dump(values | {"transcoders": listing}))
    output = swept(tmp_path / "output", {kind: str(model_folder / kind) for kind in KINDS})
    config.write_text(yaml.safe_dump(values | {"transcoders": listing[::-1]}))
    with pytest.raises(ConfigurationError, match="changed since the sweep"):
        recorded_model(output)


@pytest.mark.slow
def test_every_command_goes_on_after_main_has_moved(hub_cache: HubCache, tmp_path: Path) -> None:
    hub_cache.commit("org/model", Path(make_model(tmp_path / "first", seed=0)))
    hub_cache.commit("org/set", Path(make_transcoders(tmp_path / "set")))
    rows = [{"prompt": " ".join(WORDS[4 + i : 9 + i])} for i in range(6)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sweep = {
        "model": "org/model",
        "transcoders": "org/set",
        "prompts": str(tmp_path / "prompts.jsonl"),
        "output": str(tmp_path / "output"),
        "workers": {"replicas": 1, "cores_per_replica": 1},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    done = command("run", tmp_path / "sweep.yaml")
    assert done.returncode == 0, done.stderr
    hub_cache.commit("org/model", Path(make_model(tmp_path / "second", seed=1)))
    hub_cache.commit("org/set", Path(make_transcoders(tmp_path / "other", scale=0.5)))
    for words in (
        ("validate", sweep["output"], "--workers.replicas", 1),
        ("aggregate", sweep["output"], "--of", "pairs", "--min-support", 1),
    ):
        done = command(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    weights = Results(sweep["output"]).sql("select virtual_weight from feature_pairs").fetchall()
    assert any(weight for (weight,) in weights)
    written = export(Results(sweep["output"]), tmp_path / "graphs", where="true")
    assert len(written.graphs) == len(rows)
    features = [json.loads(path.read_text()) for path in tmp_path.glob("graphs/features/*/*.json")]
    assert all(feature["top_logits"] for feature in features)
