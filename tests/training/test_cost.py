"""The arithmetic of a plan, against the table of published sizes."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pipeline.errors import ConfigurationError
from pipeline.training.planning.cost import Cost, Gpu, TrainedModel, cost_of, layer_groups
from pipeline.training.planning.shape import DictionaryShape, Kind

GEMMA = TrainedModel(parameters=2_020_000_000, bytes=5.2e9, layers=26)
LLAMA = TrainedModel(parameters=970_000_000, bytes=2.5e9, layers=16)
WIDTH = {GEMMA: 2304, LLAMA: 2048}
BILLION = 10**9


def cost(model: TrainedModel, kind: Kind, features: int, gpus: int | None = None, **shape: int) -> Cost:
    dictionary = DictionaryShape(kind, model.layers, WIDTH[model], features, **shape)
    return cost_of(dictionary, model, BILLION, Gpu(), rows=4096, buffer_rows=32_768, gpus=gpus)


@pytest.mark.parametrize(
    ("model", "features", "billions", "gigabytes", "rate", "hours"),
    [
        (GEMMA, 16_384, 2.0, 31, 19_000, 15),
        (GEMMA, 65_536, 7.9, 126, 5_900, 47),
        (GEMMA, 409_600, 49, 785, 1_000, 276),
        (LLAMA, 16_384, 1.1, 17, 36_000, 8),
        (LLAMA, 65_536, 4.3, 69, 10_800, 26),
        (LLAMA, 409_600, 27, 430, 1_800, 151),
    ],
)
def test_per_layer(
    model: TrainedModel, features: int, billions: float, gigabytes: float, rate: float, hours: float
) -> None:
    found = cost(model, "plt", features)
    assert found.shape.parameters / 1e9 == pytest.approx(billions, rel=0.05)
    assert found.shape.state_bytes / 1e9 == pytest.approx(gigabytes, rel=0.05)
    if len(found.groups) == 1:  # the table counts the model's forward pass once
        assert found.tokens_a_second == pytest.approx(rate, rel=0.05)
        assert found.gpu_hours == pytest.approx(hours, rel=0.07)


@pytest.mark.parametrize(
    ("model", "features", "billions", "gigabytes", "gpus", "rate", "hours", "file"),
    [
        (GEMMA, 16_384, 14.2, 228, range(4, 5), 3_400, 83, 28),
        (GEMMA, 65_536, 56.9, 911, range(14, 17), 870, 320, 114),
        (GEMMA, 409_600, 356, 5_700, range(85, 96), 140, 1_980, 712),
        (LLAMA, 16_384, 5.1, 82, range(2, 3), 9_200, 30, 10),
        (LLAMA, 65_536, 20.4, 326, range(5, 9), 2_400, 115, 41),
        (LLAMA, 409_600, 128, 2_000, range(29, 33), 390, 710, 255),
    ],
)
def test_cross_layer(
    model: TrainedModel,
    features: int,
    billions: float,
    gigabytes: float,
    gpus: range,
    rate: float,
    hours: float,
    file: float,
) -> None:
    found = cost(model, "clt", features)
    assert found.shape.parameters / 1e9 == pytest.approx(billions, rel=0.05)
    assert found.shape.state_bytes / 1e9 == pytest.approx(gigabytes, rel=0.05)
    assert found.gpus in gpus
    assert found.tokens_a_second == pytest.approx(rate, rel=0.05)
    assert found.gpu_hours == pytest.approx(hours, rel=0.05)
    assert found.shape.file_bytes() / 1e9 == pytest.approx(file, rel=0.03)


@pytest.mark.parametrize(
    ("features", "groups", "least_useful"), [(16_384, 1, 0.74), (65_536, 2, 0.85), (409_600, 13, 0.84)]
)
def test_layers_are_cut_into_the_fewest_groups_that_fit(
    features: int, groups: int, least_useful: float
) -> None:
    found = cost(GEMMA, "plt", features)
    assert len(found.groups) == groups
    assert found.useful_share > least_useful


def test_groups_are_contiguous_and_cover_all_layers() -> None:
    for layers in range(1, 30):
        for number in range(1, layers + 1):
            groups = layer_groups(layers, number)
            assert (groups[0][0], sum(groups[-1])) == (0, layers)
            assert all(first + size == after for (first, size), (after, _) in pairwise(groups))
            assert max(size for _, size in groups) - min(size for _, size in groups) <= 1


def test_a_feature_that_writes_to_few_layers_takes_less() -> None:
    full, near = (cost(GEMMA, "clt", 65_536).shape, cost(GEMMA, "clt", 65_536, cross_layer=4).shape)
    assert full.state_bytes / 1e9 == pytest.approx(911, rel=0.01)
    assert near.state_bytes / 1e9 == pytest.approx(310, rel=0.25)
    assert cost(GEMMA, "clt", 65_536, cross_layer=25).shape.parameters == full.parameters


def test_a_cross_layer_transcoder_that_cannot_fit_is_refused_with_what_would() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        cost(GEMMA, "clt", 65_536, gpus=8)
    said = str(refusal.value)
    assert "features 65,536" in said
    features = int(said.split("features: ")[1].split(", or")[0].replace(",", ""))
    reach = int(said.split("cross_layer: ")[1].split()[0])
    gpus = int(said.split(", or ")[-1].split()[0])
    assert cost(GEMMA, "clt", features, gpus=8).gpus == 8
    assert cost(GEMMA, "clt", 65_536, gpus=8, cross_layer=reach).gpus == 8
    assert cost(GEMMA, "clt", 65_536, gpus=gpus).gpus == gpus
    with pytest.raises(ConfigurationError):
        cost(GEMMA, "clt", 65_536, gpus=gpus - 1)


def test_a_layer_that_cannot_fit_is_refused_with_the_features_that_would() -> None:
    with pytest.raises(ConfigurationError, match="one layer takes") as refusal:
        cost(GEMMA, "plt", 4_000_000)
    features = int(str(refusal.value).split("features: ")[-1].split(" would")[0].replace(",", ""))
    assert len(cost(GEMMA, "plt", features).groups) == 26
