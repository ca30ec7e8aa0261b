from __future__ import annotations

import random

import pytest

from pipeline.sweep import key_set
from pipeline.sweep.key_set import KeySet


def test_it_holds_what_was_added_however_often_it_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "RECENT", 8)
    draw, expected, keys = random.Random(0), set(), KeySet()
    for _ in range(3000):
        key = draw.choice([draw.randrange(-(2**63), 2**63), draw.randrange(-500, 500)])
        assert (key in keys) == (key in expected)
        assert keys.add(key) == (key not in expected)
        expected.add(key)
    assert all(key in keys for key in expected)
    assert not any(key in keys for key in range(500, 600) if key not in expected)


@pytest.mark.parametrize("recent", [1, 100])
def test_the_ends_of_64_bits_are_keys_too(recent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "RECENT", recent)
    keys = KeySet()
    keys.update([2**63 - 1, -(2**63)])
    assert 2**63 - 1 in keys
    assert -(2**63) in keys
    assert 0 not in keys
