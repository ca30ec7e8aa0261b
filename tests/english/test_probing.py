"""A planted feature is found for its class, and noise stays at what always saying yes reaches."""

import numpy as np
import pytest
import torch

from pipeline.english.model import new_model
from pipeline.english.probing import class_features, f1_scores, strongest_activations
from pipeline.english.tokenizer import BOS
from pipeline.transcoders import JumpReLU, TranscoderLayer, Transcoders

PLANTED = 300
"""A token that only texts of class `planted` hold."""


def random_transcoders(width: int, features: int = 24) -> Transcoders:
    generator = torch.Generator().manual_seed(0)
    layers = tuple(
        TranscoderLayer(
            encoder=torch.randn(features, width, generator=generator),
            encoder_bias=torch.zeros(features),
            decoder=torch.randn(features, 1, width, generator=generator),
            decoder_bias=torch.zeros(width),
            activation=JumpReLU(torch.full((features,), 4.0)),
        )
        for _ in range(4)
    )
    return Transcoders(layers, "mlp.hook_in", "mlp.hook_out", "random")


def texts(seed: int) -> tuple[list[list[int]], list[str]]:
    random = np.random.default_rng(seed)
    rows, names = [], []
    for n in range(400):
        row = [BOS, *random.integers(400, 700, size=8).tolist()]
        if n % 4 == 0:
            row[random.integers(1, 9)] = PLANTED
        rows.append(row)
        names.append("planted" if n % 4 == 0 else random.choice(["noise", "other"]))
    return rows, names


def test_a_planted_feature_is_found_and_noise_is_not() -> None:
    model, transcoders = new_model(0).eval(), random_transcoders(128)
    read = []
    handle = model.model.layers[0].post_attention_layernorm.register_forward_hook(
        lambda module, inputs, output: read.append(output[0, 1])
    )
    with torch.no_grad():
        for token in (PLANTED, 500):
            model.model(input_ids=torch.tensor([[BOS, token]]))
    handle.remove()
    direction = (read[0] - read[1]) / (read[0] - read[1]).norm()
    layer = transcoders.layers[0]
    layer.encoder[7] = direction
    layer.activation.threshold[7] = float((read[0] + read[1]) @ direction) / 2
    found = class_features(model, transcoders, texts(1), texts(2), ["planted", "noise"])
    assert (found[0].layer, found[0].feature) == (0, 7)
    assert found[0].f1 > 0.9 > found[0].always_yes + 0.4
    assert found[1].f1 < found[1].always_yes + 0.1


def test_the_strongest_activation_leaves_out_the_opening_and_the_padding() -> None:
    model, transcoders = new_model(0).eval(), random_transcoders(128)
    together = strongest_activations(model, transcoders, [[BOS, 500], [BOS, 500, 600, 650]])
    alone = strongest_activations(model, transcoders, [[BOS, 500]])
    for layers in zip(together, alone, strict=True):
        np.testing.assert_allclose(layers[0][0], layers[1][0], atol=1e-5)


def test_f1_is_that_of_precision_and_recall() -> None:
    says = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], bool)
    labels = np.array([[1], [1], [0], [1]], np.float32)
    precision, recall = 1.0, 2 / 3
    assert f1_scores(says, labels)[0, 0] == pytest.approx(2 * precision * recall / (precision + recall))
    assert f1_scores(says, labels)[1, 0] == pytest.approx(2 * 0.5 * (1 / 3) / (0.5 + 1 / 3))
