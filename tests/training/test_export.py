"""What is trained, and what the product reads from its files."""

from __future__ import annotations

import json

import pytest
import torch

from pipeline.errors import TranscoderError
from pipeline.model import LanguageModel
from pipeline.training import GroupTraining, TrainingState, export_layers, join_shards, write_dictionary
from pipeline.training.data import REPORT, TokenWriter, padded_passes
from pipeline.training.group_training import reader_of
from pipeline.training.report import measure_layers
from pipeline.training.write import read_dictionary
from pipeline.transcoders import load_transcoders, write_transcoders
from tests.support.random_models import random_model
from tests.support.recipes import RECIPES, recipe_name
from tests.support.training import dictionary, in_threads, text_file


def own_fvu(training: GroupTraining, layers, rows) -> list[float]:
    """The FVU of the state itself, on normalised rows, with the thresholds of the files."""
    group = training.group
    inputs = {n: layer.normalisation.inputs(rows[n].inputs).double() for n, layer in group.layers.items()}
    written = {n: layer.base(inputs[n].float()).detach().double() for n, layer in group.layers.items()}
    for number, layer in group.layers.items():
        weights = {name: t.detach().double() for name, t in layer.weights.named().items()}
        values = inputs[number] @ weights["encoder"].T + weights["encoder_bias"]
        activation = layers[number].activation
        active = values * (values > activation.threshold.double())
        for above in range(len(layer.weights.decoders)):
            written[number + above] += active @ weights[f"decoder.{above}"]
    found = []
    for number, layer in group.layers.items():
        target = rows[number].outputs.double() / layer.normalisation.writes.scale
        left = (target - written[number]).square().sum()
        found.append(float(left / (target - target.mean(0)).square().sum()))
    return found


@pytest.mark.parametrize("kind", ["plt", "skip", "clt"])
@pytest.mark.parametrize("activation", ["batchtopk", "jumprelu"])
def test_the_folded_files_give_the_error_of_the_state(train_tiny, kind, activation):
    trained = train_tiny(kind=kind, activation=activation, steps=60)
    layers = dict(enumerate(load_transcoders(str(trained.folder)).to("cpu", torch.float32).layers))
    reader = trained.training.rows.reader
    sequences = trained.tokens.held_out.sequences(range(60))
    found, _ = measure_layers(layers, reader.passes(padded_passes(trained.model, sequences)))
    expected = own_fvu(trained.training, layers, reader.rows(sequences))
    assert [layer.fvu for layer in found] == pytest.approx(expected, rel=1e-5)
    assert max(expected) < 1


@pytest.mark.parametrize("kind", ["plt", "skip", "clt", "sae"])
def test_thresholds_leave_k_active_on_the_text_that_sets_them(train_tiny, kind):
    trained = train_tiny(kind=kind, steps=60, dtype="bfloat16")
    layers = read_dictionary(trained.config, trained.folder)
    sequences = trained.tokens.held_out.of_documents(4, (0,), 25_000)
    reader = trained.training.rows.reader
    found, _ = measure_layers(layers, reader.passes(padded_passes(trained.model, sequences)))
    assert [layer.l0 for layer in found] == pytest.approx([4, 4], rel=0.02)


@pytest.mark.parametrize("kind", ["plt", "skip", "clt", "sae"])
def test_thresholds_leave_k_active_on_new_text_in_every_layer(train_tiny, kind, tmp_path):
    text = {"source": text_file(tmp_path, 3000), "held_out": 0.3}
    trained = train_tiny(kind=kind, steps=60, dtype="bfloat16", text=text, buffer=20_000)
    layers = read_dictionary(trained.config, trained.folder)
    sequences = trained.tokens.held_out.of_documents(*REPORT, 20_000)
    reader = trained.training.rows.reader
    found, _ = measure_layers(layers, reader.passes(padded_passes(trained.model, sequences)))
    assert [layer.l0 for layer in found] == pytest.approx([4, 4], rel=0.05)


def test_thresholds_are_float32_after_saving_loading_and_converting(train_tiny, tmp_path):
    trained = train_tiny(steps=10, dtype="bfloat16")
    read = load_transcoders(str(trained.folder))
    write_transcoders(read, tmp_path / "again")
    for found in (read, load_transcoders(str(tmp_path / "again"))):
        assert {layer.activation.threshold.dtype for layer in found.layers} == {torch.float32}
        assert {layer.encoder.dtype for layer in found.layers} == {torch.bfloat16}


@pytest.mark.parametrize("activation", ["topk", "relu"])
def test_what_is_there_to_compare_with_is_read_too(train_tiny, activation):
    trained = train_tiny(activation=activation, steps=10)
    layers = load_transcoders(str(trained.folder)).layers
    rows = trained.training.rows.step(0)[0]
    layer = trained.training.group.layers[0]
    (code,) = layer.codes([layer.normalisation.inputs(rows.inputs)], 4, trained.training.group.shard)
    active = (layers[0].to("cpu", torch.float32).encode(rows.inputs) > 0).sum()
    assert int(active) == pytest.approx(code.count(), rel=1e-3)


def test_autoencoders_are_saelens_and_run_refuses_them(train_tiny):
    trained = train_tiny(kind="sae", steps=10)
    config = json.loads((trained.folder / "blocks.1.hook_mlp_out" / "cfg.json").read_text())
    assert config["architecture"] == "jumprelu"
    with pytest.raises(TranscoderError, match="an autoencoder of activations cannot stand in for an MLP"):
        load_transcoders(str(trained.folder))


def test_saelens_reads_our_autoencoders(train_tiny):
    sae_lens = pytest.importorskip("sae_lens")
    trained = train_tiny(kind="sae", steps=10)
    rows = trained.training.rows.step(0)[1].inputs
    read = sae_lens.SAE.load_from_disk(trained.folder / "blocks.1.hook_mlp_out", device="cpu")
    ours = read_dictionary(trained.config, trained.folder)[1]
    torch.testing.assert_close(read.encode(rows), ours.encode(rows), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(read(rows), ours.decode(ours.encode(rows)), rtol=1e-4, atol=1e-5)


def test_shards_are_joined_into_one_dictionary(train_tiny, tmp_path):
    trained = train_tiny(kind="clt", steps=12)

    def work(shard):
        group = GroupTraining.begin(trained.config, trained.model, trained.tokens, range(2), shard)
        while not group.done:
            group.step()
        return export_layers(group)

    with pytest.MonkeyPatch.context() as patch:
        # Threads share the model, which processes do not: one forward pass at a time would be needed.
        patch.setattr("pipeline.training.data.activations.ActivationReader.passes", once(trained))
        shards = in_threads(2, work)
    write_dictionary(trained.config, join_shards(shards), tmp_path / "files", "tiny")
    whole = load_transcoders(str(trained.folder))
    joined = load_transcoders(str(tmp_path / "files"))
    assert [layer.n_features for layer in joined.layers] == [64, 64]
    assert not torch.equal(shards[0][0].encoder, shards[1][0].encoder)
    for mine, theirs in zip(joined.layers, whole.layers, strict=True):
        torch.testing.assert_close(mine.encoder, theirs.encoder, rtol=0.02, atol=0.02)


def once(trained):
    from threading import Lock

    from pipeline.training.data.activations import ActivationReader

    passes, lock = ActivationReader.passes, Lock()

    def locked(self, given):
        with lock:
            return iter(list(passes(self, given)))

    return locked


@pytest.mark.parametrize("recipe", [r for r in RECIPES if not r.options], ids=recipe_name)
def test_every_architecture_is_trained_and_traced(recipe, tmp_path):
    """The files are read by the engine that `run` uses, at the hook point that they were trained at."""
    from pipeline import ReplacementModel, attribute

    whole = random_model(recipe, torch.float32)
    model = LanguageModel.of("random", whole.model, whole.tokenizer)
    writer = TokenWriter(tmp_path / "tokens")
    random = torch.Generator().manual_seed(0)
    for number in range(60):
        ids = [1, *torch.randint(3, 40, (7,), generator=random).tolist()]
        writer.add("held_out" if number % 3 == 0 else "train", [(ids, 7)])
    tokens = writer.finish({})
    kind = "clt" if recipe.cross_layer else "skip" if recipe.skip else "plt"
    own = {"model": str(tmp_path / "tokens"), "hook": recipe.input_hook}  # any folder: the model is at hand
    config = dictionary(kind=kind, features=32, steps=4, batch=64, **own)
    training = GroupTraining.begin(config, model, tokens, range(recipe.layers))
    losses = [training.step().layers for _ in range(4)]
    assert all(layer.fvu < 3 for layer in losses[-1])
    write_dictionary(config, export_layers(training), tmp_path / "files", "random")
    traced = ReplacementModel.assemble(
        "random", model.model, model.tokenizer, model.architecture, load_transcoders(str(tmp_path / "files"))
    )
    graph = attribute(traced, [1, 5, 9, 12])
    assert len(graph.active_features) > 0
    rows = reader_of(config, model, range(recipe.layers)).rows([torch.tensor([1, 5, 9, 12]).numpy()])
    error = traced.freeze(traced.ensure_tokenized([1, 5, 9, 12])).layers[-1].error[1:]
    layers = read_dictionary(config, tmp_path / "files")
    written = torch.zeros_like(rows[0].outputs)
    for number, layer in layers.items():
        above = recipe.layers - 1 - number
        if above < layer.decoder.shape[1]:
            active = layer.encode(rows[number].inputs)
            written += active @ layer.decoder_rows(torch.arange(layer.n_features), above)
    top = layers[recipe.layers - 1]
    written += (
        top.decoder_bias if top.skip is None else top.decoder_bias + rows[recipe.layers - 1].inputs @ top.skip
    )
    torch.testing.assert_close(error, rows[recipe.layers - 1].outputs - written, rtol=1e-3, atol=1e-4)


def test_a_state_is_a_file(train_tiny, tmp_path):
    state = train_tiny(steps=2).training.state()
    state.save(tmp_path / "state")
    read = TrainingState.load(tmp_path / "state")
    assert read.info == state.info
    assert read.tensors.keys() == state.tensors.keys()
