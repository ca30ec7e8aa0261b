"""Features that two dictionaries share, beside what random directions reach; and the table of the report."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
import torch

from pipeline.errors import ConfigurationError
from pipeline.results import Results
from pipeline.store import SWEEP, Output
from pipeline.training import card, load_against, train_dictionary
from pipeline.training.report.agreement import measure_agreement
from pipeline.transcoders import ReLU, TranscoderLayer
from schemas import TRAINING
from tests.support.nights import night


def layer(decoder: torch.Tensor) -> TranscoderLayer:
    features, width = decoder.shape
    zeros = torch.zeros(features)
    return TranscoderLayer(decoder, zeros, decoder[:, None], torch.zeros(width), ReLU())


def drawn(features: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(features, width, generator=torch.Generator().manual_seed(seed))


def test_planted_features_are_shared_and_no_others():
    own = drawn(200, 64, 0)
    other = drawn(200, 64, 1)
    other[50:100] = 3 * own[:50].flip(0) + 0.3 * drawn(50, 64, 2)  # in another order, size, a little off
    found = measure_agreement({0: layer(own)}, {0: layer(other)}, "other", seed=0).layers[0]
    assert (found.shared, found.random) == (0.25, 0)


def test_random_directions_share_the_covariance_and_show_what_that_alone_gives():
    """In a few dimensions every direction is near some decoder: no sign of anything shared."""
    few = drawn(200, 4, 0) @ drawn(4, 64, 1)
    own = drawn(200, 4, 2) @ drawn(4, 64, 1)
    found = measure_agreement({0: layer(own)}, {0: layer(few)}, "other", seed=0).layers[0]
    assert found.shared > 0.9
    assert found.random > 0.9


def test_layers_that_differ_in_shape_are_refused():
    with pytest.raises(ConfigurationError, match="against has no layer 0 that writes what"):
        measure_agreement({0: layer(drawn(8, 4, 0))}, {0: layer(drawn(8, 5, 0))}, "other", seed=0)


@pytest.mark.parametrize("kind", ["skip", "clt", "sae"])
def test_a_dictionary_is_compared_with_the_one_that_is_named(train_tiny, tiny_dictionary, tmp_path, kind):
    other = train_tiny(kind=kind, steps=60, seed=1)
    config = tiny_dictionary(kind=kind, steps=60, against=str(other.folder))
    metrics = train_dictionary(config, tmp_path / "own", tmp_path / "tokens")
    page = card(metrics)
    assert f"## Beside {other.folder}" in page
    for found in metrics.against.layers:
        assert f"| {found.layer} | {found.shared:.1%} | {found.random:.1%} |" in page
    itself = train_dictionary(
        config.model_copy(update={"against": str(tmp_path / "own")}), tmp_path / "again", tmp_path / "tokens"
    )
    assert {found.shared for found in itself.against.layers} == {1.0}
    assert all(found.shared < 1 for found in metrics.against.layers)


def test_another_dictionary_with_too_few_layers_is_refused_before_training(train_tiny, tiny_dictionary):
    other = train_tiny(kind="skip", steps=1)
    config = tiny_dictionary(kind="skip", steps=1, against=str(other.folder))
    with pytest.raises(ConfigurationError, match="against has 2 layers, and 3 are trained"):
        load_against(config.model_copy(update={"layers": 3}))


def test_the_report_is_a_table_that_a_sweep_can_be_asked_for(train_tiny, tiny_dictionary, tmp_path):
    base = train_tiny(kind="skip", steps=40)
    config = tiny_dictionary(kind="skip", steps=20, start=str(base.folder), against=str(base.folder))
    metrics = train_dictionary(config, tmp_path / "dictionary", tmp_path / "tokens")
    rows = pq.read_table(tmp_path / "dictionary" / "training.parquet")
    assert rows.schema.equals(TRAINING.schema, check_metadata=False)
    assert rows["measured"].to_pylist() == ["start"] * 2 + ["trained"] * 2
    assert rows["fvu"].to_pylist() == [each.fvu for each in (*metrics.start, *metrics.layers)]
    assert rows["shared"].to_pylist()[2:] == [each.shared for each in metrics.against.layers]
    assert rows["tokens"].to_pylist()[2:] == [20 * 128] * 2
    night(Output(tmp_path / "sweep"), range(2))
    assert "training" not in Results(tmp_path / "sweep").tables
    told = json.loads((tmp_path / "sweep" / SWEEP).read_text())
    told["run"] |= {"transcoders": {"name": str(tmp_path / "dictionary")}}
    (tmp_path / "sweep" / SWEEP).write_text(json.dumps(told))
    answer = Results(tmp_path / "sweep").sql(
        "select layer, fvu from training where measured = 'trained' order by layer"
    )
    assert answer.fetchall() == [(each.layer, each.fvu) for each in metrics.layers]
