"""Which device holds which layer."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.layout import lay_out

DEVICES = [torch.device("cuda", index) for index in range(8)]


def test_equal_layers_are_shared_out_evenly() -> None:
    assert lay_out([10] * 6, 0, DEVICES[:3]) == tuple(DEVICES[index // 2] for index in range(6))


def test_home_takes_fewer_layers_for_what_it_holds_besides() -> None:
    assert [place.index for place in lay_out([10] * 6, 20, DEVICES[:2])] == [0, 0, 1, 1, 1, 1]


@given(st.lists(st.integers(1, 100), min_size=1, max_size=40), st.integers(0, 300), st.integers(1, 8))
def test_layers_stay_in_order_and_no_device_holds_much_more_than_its_share(
    layers: list[int], home: int, count: int
) -> None:
    places = [place.index for place in lay_out(layers, home, DEVICES[:count])]
    assert places == sorted(places)
    held = [sum(size for size, place in zip(layers, places, strict=True) if place == k) for k in range(count)]
    share = (sum(layers) + home) / count
    assert all(amount <= share + max(layers) for amount in held)
