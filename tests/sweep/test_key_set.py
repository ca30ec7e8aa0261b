from __future__ import annotations

import random

import pytest

from pipeline.sweep import key_set
from pipeline.sweep.key_set import KeySet


def test_it_holds_what_was_added_however_often_it_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "RECENT", 8)
    draw, expected, keys = random.Random(0), set(), KeySet()
    for _ in range(300):
        some = [
            draw.choice([draw.randrange(-(2**63), 2**63), draw.randrange(-500, 500)])
            for _ in range(draw.randrange(20))
        ]
        assert keys.holds(some) == [key in expected for key in some]
        if draw.random() < 0.3:
            keys.update(some)
        else:
            new = [key not in expected and key not in some[:place] for place, key in enumerate(some)]
            assert keys.add(some) == new
        expected.update(some)
    assert all(keys.holds(list(expected)))
    assert keys.holds([500, 501]) == [False, False]


@pytest.mark.parametrize("recent", [1, 100])
def test_the_ends_of_64_bits_are_keys_too(recent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "RECENT", recent)
    keys = KeySet()
    keys.update([2**63 - 1, -(2**63)])
    assert keys.holds([2**63 - 1, -(2**63), 0]) == [True, True, False]
