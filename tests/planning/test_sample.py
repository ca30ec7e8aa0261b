from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pipeline.planning.sample import Reservoir, draw


@given(st.lists(st.integers(1, 100), min_size=1, max_size=60), st.integers(1, 12), st.integers(0, 9))
def test_one_is_drawn_from_each_part_of_the_lengths(lengths: list[int], count: int, seed: int) -> None:
    drawn = draw(lengths, lambda length: length, count, seed)
    assert len(drawn) == min(count, len(lengths))
    assert drawn == sorted(drawn)
    assert not Counter(drawn) - Counter(lengths)
    ordered, parts = sorted(lengths), len(drawn)
    for part, length in enumerate(drawn):
        first, last = part * len(ordered) // parts, (part + 1) * len(ordered) // parts - 1
        assert ordered[first] <= length <= ordered[last]


def test_a_seed_decides_what_is_drawn() -> None:
    draws = {tuple(draw(range(1000), int, 8, seed)) for seed in (0, 0, 1, 2)}
    assert len(draws) == 3


def test_every_item_of_a_stream_has_the_same_chance() -> None:
    found: Counter[int] = Counter()
    for seed in range(600):
        reservoir: Reservoir[int] = Reservoir(5, seed)
        for item in range(20):
            reservoir.offer(item)
        assert len(set(reservoir.items)) == 5
        found.update(reservoir.items)
    assert all(100 < found[item] < 200 for item in range(20))  # 150 are expected


def test_a_short_stream_is_kept_whole() -> None:
    reservoir: Reservoir[str] = Reservoir(5, 0)
    for item in "abc":
        reservoir.offer(item)
    assert (reservoir.items, reservoir.seen) == (["a", "b", "c"], 3)
