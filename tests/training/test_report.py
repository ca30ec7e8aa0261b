"""The report, computed again from the files by NumPy in float64, and shown to tell good from bad."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import ConfigurationError
from pipeline.training import (
    GroupTraining,
    TrainingFacts,
    card,
    load_language_model,
    load_start,
    measure_dictionary,
    measure_start,
    train_dictionary,
    write_dictionary,
)
from pipeline.training.data import REPORT
from pipeline.training.export import fold_layer, threshold_scales
from pipeline.training.report import measure_layers, replaced_mlps
from pipeline.training.train import write_report
from pipeline.training.write import read_dictionary
from pipeline.transcoders import JumpReLU, TranscoderLayer, load_transcoders
from tests.support.numpy_llama import NumpyDictionary, NumpyLlama
from tests.support.tiny_model import sentence
from tests.support.training import PlantedRows, begin, dictionary, text_file, train


@pytest.fixture(scope="module", params=["skip", "clt"])
def measured(request, train_tiny):
    trained = train_tiny(kind=request.param, steps=60)
    facts = TrainingFacts.of([trained.training.state()], seconds=2.0)
    metrics = measure_dictionary(trained.config, trained.model, trained.tokens, trained.folder, facts)
    return trained, metrics


@pytest.fixture
def again(measured):
    """The model's own rows, and every way of running it, in NumPy."""
    trained, _ = measured
    model = NumpyLlama(Path(trained.config.model))
    return model, NumpyDictionary(trained.folder), trained.tokens.held_out.of_documents(*REPORT, 20_000)


def test_layers_are_the_same_by_a_second_implementation(measured, again):
    _, metrics = measured
    model, files, sequences = again
    runs = [model.run(sequence.astype(int)) for sequence in sequences]
    reads = [np.concatenate([run[1][n][1:] for run in runs]) for n in range(model.n_layers)]
    writes = [np.concatenate([run[2][n][1:] for run in runs]) for n in range(model.n_layers)]
    active = [files.encode(n, reads[n]) for n in range(model.n_layers)]
    for number, found in enumerate(metrics.layers):
        written = files.base(number, reads[number])
        for source in range(number + 1):
            if number - source < files.layers[source][2].shape[1]:
                written = written + files.decode(source, active[source], number - source)
        y = writes[number]
        fires = (active[number] != 0).sum(0)
        share = fires / len(y)
        decoders = files.decoders[number]
        decoders = decoders / np.linalg.norm(decoders, axis=1, keepdims=True)
        cosines = decoders @ decoders.T - 3 * np.eye(len(decoders))
        logs = np.log10(share[share > 0])
        expected = {
            "rows": len(y),
            "l0": (active[number] != 0).sum(1).mean(),
            "fvu": ((y - written) ** 2).sum() / ((y - y.mean(0)) ** 2).sum(),
            "norm_ratio": np.linalg.norm(written, axis=1).sum() / np.linalg.norm(y, axis=1).sum(),
            "bias": (written**2).sum() / (written * y).sum(),
            "dead": (fires == 0).sum(),
            "frequent_1": (share > 0.01).sum(),
            "frequent_10": (share > 0.1).sum(),
            "l0_frequent_1": fires[share > 0.01].sum() / fires.sum(),
            "l0_frequent_10": fires[share > 0.1].sum() / fires.sum(),
            "decoder_similarity": cosines.max(1).mean(),
        }
        for name, value in expected.items():
            assert getattr(found, name) == pytest.approx(value, abs=1e-6, rel=1e-6), name
        assert list(found.histogram) == np.histogram(logs, np.arange(-8, 0.01, 0.25))[0].tolist()


def test_the_model_is_the_same_by_a_second_implementation(measured, again):
    _, metrics = measured
    model, files, sequences = again
    L = model.n_layers
    writes = [np.concatenate([model.run(s.astype(int))[2][n][1:] for s in sequences]) for n in range(L)]
    means = [rows.mean(0) for rows in writes]
    ways = {
        "ce": {},
        "ce_replaced": {"dictionary": files, "replaced": range(L)},
        "ce_means": {"means": means},
    }
    ways |= {str(n): {"dictionary": files, "replaced": [n]} for n in range(L)}
    sums, kl, same, count = dict.fromkeys(ways, 0.0), 0.0, 0, 0
    for sequence in sequences:
        tokens = sequence.astype(int)
        found = {name: model.run(tokens, **way)[0][1:-1] for name, way in ways.items()}
        answers = tokens[2:]
        count += len(answers)
        for name, logs in found.items():
            sums[name] -= logs[np.arange(len(answers)), answers].sum()
        kl += (np.exp(found["ce"]) * (found["ce"] - found["ce_replaced"])).sum()
        same += (found["ce"].argmax(1) == found["ce_replaced"].argmax(1)).sum()
    mean = {name: total / count for name, total in sums.items()}
    assert metrics.model.predictions == count
    for name in ("ce", "ce_replaced", "ce_means"):
        assert getattr(metrics.model, name) == pytest.approx(mean[name], abs=1e-6), name
    assert metrics.model.ce_layers == pytest.approx({n: mean[str(n)] for n in range(L)}, abs=1e-6)
    at_stake = mean["ce_means"] - mean["ce"]
    expected = (mean["ce_means"] - mean["ce_replaced"]) / at_stake
    assert metrics.model.recovered == pytest.approx(expected, rel=1e-5, abs=1e-6 / abs(at_stake))
    assert metrics.model.kl == pytest.approx(kl / count, abs=1e-6)
    assert metrics.model.top_1 == pytest.approx(same / count, abs=1e-9)


def test_a_mean_of_ratios_is_another_number(measured, again):
    _, metrics = measured
    model, files, sequences = again
    runs = [model.run(sequence.astype(int)) for sequence in sequences]
    read, y = (np.concatenate([run[side][0][1:] for run in runs]) for side in (1, 2))
    written = files.base(0, read) + files.decode(0, files.encode(0, read), 0)
    ratios = ((y - written) ** 2).sum(1) / ((y - y.mean(0)) ** 2).sum(1)
    assert abs(ratios.mean() - metrics.layers[0].fvu) > 1e-3


def test_the_card_has_everything_and_what_it_is_bad_at(measured):
    trained, metrics = measured
    page = card(metrics)
    facts = metrics.training
    for said in (
        facts.text_hash,
        "7,680",
        "Seed: 0",
        f"{facts.layers[0].gamma:.2f}",
        f"{metrics.layers[1].fvu:.4f}",
    ):
        assert said in page
    assert "recovered" in page
    poor = replace(metrics.layers[1], fvu=0.417, frequent_10=3, l0_frequent_10=0.25)
    page = card(replace(metrics, layers=(metrics.layers[0], poor)))
    assert "Layer 1 leaves 42% of the variance unexplained" in page
    assert "Layer 1 has 3 features that are active on more than 10% of the tokens, 25% of all" in page
    write_report(metrics, trained.folder)
    read = json.loads((trained.folder / "metrics.json").read_text())
    assert read["layers"][1]["fvu"] == metrics.layers[1].fvu
    assert read["training"]["text_hash"] == trained.tokens.description.hash
    load_transcoders(str(trained.folder))  # the report stands beside files that are read as before


def test_a_random_dictionary_is_told_from_a_trained_one(measured):
    trained, metrics = measured
    folder = trained.folder.parent / "random"
    random = torch.Generator().manual_seed(0)

    def spoilt(layer: TranscoderLayer) -> TranscoderLayer:
        encoder = torch.randn(layer.encoder.shape, generator=random) * layer.encoder.std()
        decoder = torch.randn(layer.decoder.shape, generator=random) * layer.decoder.std()
        threshold = torch.full((layer.n_features,), 0.5)
        return TranscoderLayer(encoder, layer.encoder_bias, decoder, layer.decoder_bias, JumpReLU(threshold))

    if not folder.exists():
        layers = read_dictionary(trained.config, trained.folder)
        layers = {
            number: TranscoderLayer(
                layer.encoder, layer.encoder_bias, layer.decoder.whole(), layer.decoder_bias, layer.activation
            )
            for number, layer in layers.items()
        }
        write_dictionary(trained.config, {n: spoilt(layer) for n, layer in layers.items()}, folder)
    other = measure_dictionary(trained.config, trained.model, trained.tokens, folder)
    for good, bad in zip(metrics.layers, other.layers, strict=True):
        assert bad.fvu > good.fvu + 0.2
    assert other.model.kl > metrics.model.kl


def test_replacing_nothing_is_the_model(measured):
    trained, _ = measured
    layers = read_dictionary(trained.config, trained.folder)
    tokens = torch.tensor([[1, 5, 9, 12]])
    with torch.no_grad():
        plain = trained.model.model(input_ids=tokens).logits
        with replaced_mlps(trained.model, layers, "mlp.hook_in", []):
            same = trained.model.model(input_ids=tokens).logits
        with replaced_mlps(trained.model, layers, "mlp.hook_in", layers):
            other = trained.model.model(input_ids=tokens).logits
    assert torch.equal(plain, same)
    assert torch.equal(plain[:, 0], other[:, 0])  # position 0 keeps the model's own MLP
    assert not torch.equal(plain[:, 1:], other[:, 1:])


def test_half_the_right_l0_is_seen_in_the_report():
    """With as many active features as there are directions in a row, and with half, on the same rows."""
    found = {}
    for k in (2, 4):
        planted = PlantedRows(60, 40, 4.0)
        group, rows = begin(dictionary(features=64, k=k, steps=250, batch=256), planted)
        train(group, rows)
        layer, held_out = fold_layer(group, 0), planted.rows(4096)
        shape = {0: layer.activation.threshold.double()}
        scale = threshold_scales({0: layer}, shape, {0: 1.0}, lambda part=held_out: [part], k)
        layer = replace(layer, activation=JumpReLU((shape[0] * scale[0]).float()))
        ((found[k],), _) = measure_layers({0: layer}, [planted.rows(4096)])
    assert [found[k].l0 for k in (2, 4)] == pytest.approx([2, 4], rel=0.1)
    assert found[2].fvu > 2 * found[4].fvu
    assert found[2].norm_ratio < found[4].norm_ratio


def test_a_start_is_measured_before_training_as_anybody_would(train_tiny, tiny_dictionary, tmp_path):
    trained = train_tiny(kind="skip", steps=80)
    config = tiny_dictionary(kind="skip", steps=2, start=str(trained.folder))
    start = load_start(config, trained.model)
    before = measure_start(config, trained.model, trained.tokens, start)
    independent = measure_dictionary(trained.config, trained.model, trained.tokens, trained.folder)
    assert before == list(independent.layers)
    training = GroupTraining.begin(config, trained.model, trained.tokens, range(2), start=start)
    rows = training.rows.step(0)
    of_file = {n: layer.to("cpu", torch.float32) for n, layer in enumerate(start.layers)}
    for number, layer in training.group.layers.items():
        x = layer.normalisation.inputs(rows[number].inputs)
        values = x @ layer.weights.encoder.T + layer.weights.encoder_bias
        torch.testing.assert_close(
            values.detach(), of_file[number].preactivations(rows[number].inputs), rtol=1e-4, atol=1e-4
        )


def test_a_class_that_a_feature_tells_is_found_and_a_shuffled_label_is_not(tiny_dictionary, tmp_path):
    words = [sentence(17 * number + number // 3, 5) for number in range(400)]
    random = np.random.default_rng(0)
    planted = {
        "planted": ["yes" if "w3" in text.split() else "no" for text in words],
        "shuffled": random.permutation(["yes"] * 60 + ["no"] * 340).tolist(),
    }
    f1 = {}
    for name, labels in planted.items():
        path = tmp_path / f"{name}.jsonl"
        rows = ({"text": t, "kind": label} for t, label in zip(words, labels, strict=True))
        path.write_text("\n".join(map(json.dumps, rows)))
        config = tiny_dictionary(
            kind="plt", steps=60, text={"source": str(path), "held_out": 0.4, "label": "kind"}
        )
        metrics = train_dictionary(config, tmp_path / name, tmp_path / f"{name} tokens")
        (f1[name],) = (found for found in metrics.classes if found.label == "yes")
        assert "## Classes" in card(metrics)
    assert f1["planted"].f1 > f1["planted"].always_yes + 0.3
    assert f1["shuffled"].f1 < f1["shuffled"].always_yes + 0.15


@pytest.mark.slow
def test_the_default_beats_topk_and_relu_at_equal_l0_and_tokens(tiny_dictionary, tmp_path):
    """Or the default changes. JumpReLU is for long trainings: here it is far behind."""
    text = {"source": text_file(tmp_path, 2000), "held_out": 0.3}
    found = {}
    for activation in ("batchtopk", "topk", "relu"):
        config = tiny_dictionary(kind="plt", text=text, buffer=20_000, steps=400, activation=activation)
        metrics = train_dictionary(config, tmp_path / activation, tmp_path / "tokens")
        found[activation] = metrics.layers
        assert [layer.l0 for layer in metrics.layers] == pytest.approx([4, 4], rel=0.1)
    for layer in range(2):
        fvu = {activation: layers[layer].fvu for activation, layers in found.items()}
        assert fvu["batchtopk"] < 0.95 * fvu["topk"] < fvu["relu"], fvu
        assert found["relu"][layer].norm_ratio < 0.85 < found["batchtopk"][layer].norm_ratio


@pytest.mark.slow
def test_a_fiftieth_of_the_tokens_from_a_good_start_is_worth_all_from_nothing(tiny_dictionary, tmp_path):
    text = {"source": text_file(tmp_path, 2000), "held_out": 0.3}
    common = {"kind": "skip", "text": text, "buffer": 20_000}
    base = tiny_dictionary(**common, steps=400)
    train_dictionary(base, tmp_path / "base", tmp_path / "tokens")
    model = load_language_model(base)
    with torch.no_grad():
        for parameter in model.model.parameters():
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            parameter += 0.02 * parameter.std() * noise
    model.model.save_pretrained(tmp_path / "tuned")
    model.tokenizer.save_pretrained(tmp_path / "tuned")
    common["model"] = str(tmp_path / "tuned")

    def trained(name, **changes):
        config = tiny_dictionary(**common, **changes)
        return train_dictionary(config, tmp_path / name, tmp_path / "tokens of tuned")

    whole = trained("whole", steps=400)
    warm, cold = trained("warm", steps=8, start=str(tmp_path / "base")), trained("cold", steps=8)
    errors = {
        name: np.mean([layer.fvu for layer in layers])
        for name, layers in (
            ("start", warm.start),
            ("warm", warm.layers),
            ("whole", whole.layers),
            ("cold", cold.layers),
        )
    }
    assert errors["warm"] < 1.05 * errors["whole"], errors
    assert errors["warm"] < errors["start"], errors
    assert errors["cold"] > 2 * errors["warm"], errors


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features": 32}, "write `features: 64`"),
        ({"kind": "plt"}, "write `kind: skip`"),
        ({"hook": "hook_resid_mid"}, "write `hook: mlp.hook_in`"),
        ({"kind": "clt"}, "change kind or cross_layer"),
        ({"kind": "sae"}, "only transcoders can be read"),
    ],
)
def test_a_start_that_does_not_fit_is_refused_with_the_way_out(train_tiny, tiny_dictionary, changes, said):
    trained = train_tiny(kind="skip", steps=1)
    config = tiny_dictionary(**{"kind": "skip", "start": str(trained.folder)} | changes)
    with pytest.raises(ConfigurationError, match=said):
        load_start(config, trained.model)
