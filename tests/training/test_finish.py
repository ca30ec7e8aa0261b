"""The last stretch with all MLPs replaced: better predictions, reported before and after, the same again."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import torch

from pipeline.training import card, export_layers, train_dictionary
from pipeline.training.finish import finish_layers
from pipeline.training.write import read_dictionary


@pytest.fixture(scope="module", params=["skip", "clt"])
def finished(request, tiny_dictionary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    config = tiny_dictionary(kind=request.param, steps=60, finish=20_000)
    return config, folder / "files", train_dictionary(config, folder / "files", folder / "tokens")


def test_predictions_come_closer_and_both_reports_are_there(finished):
    config, folder, metrics = finished
    before = metrics.finish
    assert before.model.kl > 1.08 * metrics.model.kl
    assert before.model.ce_replaced > metrics.model.ce_replaced
    assert before.tokens >= config.finish
    page = card(metrics)
    assert "## Before and after the finish" in page
    assert f"| KL | {before.model.kl:.4f} | {metrics.model.kl:.4f} |" in page
    for was, now in zip(before.layers, metrics.layers, strict=True):
        share = before.moved[now.layer]
        line = f"| FVU of layer {now.layer} ({share:.1%} of features moved) | {was.fvu:.4f} | {now.fvu:.4f} |"
        assert line in page
    read = json.loads((folder / "metrics.json").read_text())
    assert read["finish"]["model"]["kl"] == before.model.kl
    rows = pq.read_table(folder / "training.parquet")
    assert rows["measured"].to_pylist() == ["trained"] * 2 + ["finished"] * 2
    assert rows["moved"].to_pylist() == [None, None, before.moved[0], before.moved[1]]


def test_as_many_features_are_active_as_before(finished):
    _, _, metrics = finished
    l0 = [[layer.l0 for layer in layers] for layers in (metrics.finish.layers, metrics.layers)]
    assert l0[1] == pytest.approx(l0[0], rel=0.06)  # of few tokens: not quite k


def test_what_is_before_is_the_dictionary_without_a_finish(finished, tmp_path):
    config, _, metrics = finished
    plain = config.model_copy(update={"finish": None})
    without = train_dictionary(plain, tmp_path / "files", tmp_path / "tokens")
    assert metrics.finish.layers == without.layers
    assert metrics.finish.model == without.model


def test_begun_again_it_gives_the_same_bits(train_tiny):
    trained = train_tiny(kind="skip", steps=20)
    config = trained.config.model_copy(update={"finish": 3_000})
    layers = export_layers(trained.training)
    first, again = (finish_layers(config, trained.model, trained.tokens, layers) for _ in range(2))
    for number in layers:
        assert torch.equal(first.layers[number].decoder, again.layers[number].decoder)
        assert torch.equal(
            first.layers[number].activation.threshold, again.layers[number].activation.threshold
        )


def test_features_that_turned_are_counted_and_none_else(train_tiny, monkeypatch):
    trained = train_tiny(kind="skip", steps=20)
    config = trained.config.model_copy(update={"finish": 500})
    monkeypatch.setattr("pipeline.training.finish.RATE", 0.0)
    layers = export_layers(trained.training)
    still = finish_layers(config, trained.model, trained.tokens, layers)
    assert set(still.moved.values()) == {0.0}
    from pipeline.training.finish import _moved

    turned = layers[0].decoder.clone()
    turned[:16] = turned[:16].roll(1, dims=-1)
    assert _moved(layers[0], replace(layers[0], decoder=turned)) == 16 / 64


def test_the_files_are_read_as_before(finished):
    config, folder, _ = finished
    assert {layer.n_features for layer in read_dictionary(config, folder).values()} == {64}
