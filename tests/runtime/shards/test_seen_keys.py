from __future__ import annotations

import random

import pytest

from pipeline.runtime.shards import seen_keys as module
from pipeline.runtime.shards.seen_keys import DONE, FAILED, SEEN, SeenKeys

ENDS = [2**63 - 1, -(2**63)]


def test_it_knows_what_a_dictionary_would_however_often_it_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECENT", 8)
    draw = random.Random(0)

    def key() -> int:
        return draw.choice([draw.randrange(-(2**63), 2**63), draw.randrange(-500, 500), draw.choice(ENDS)])

    def some_keys() -> list[int]:
        """Draw keys, of which some were drawn before; within one call, too, in every second."""
        keys = [key() for _ in range(draw.randrange(20))]
        return keys if draw.random() < 0.5 else list(dict.fromkeys(keys))

    done, failed = some_keys(), some_keys()
    known, expected = SeenKeys(done, failed), dict.fromkeys(done, DONE)
    expected |= {key: expected.get(key, 0) | FAILED for key in failed}
    for _ in range(300):
        keys, state = some_keys(), draw.choice([DONE, FAILED, SEEN])
        before = []
        for one in keys:
            before.append(expected.get(one, 0))
            expected[one] = before[-1] | state
        assert known.mark(keys, state) == before
        assert len(known) == len(expected)
    assert known.mark(list(expected), SEEN) == list(expected.values())


@pytest.mark.parametrize("recent", [1, 100])
def test_the_ends_of_64_bits_are_keys_too(recent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECENT", recent)
    for known in (SeenKeys(), SeenKeys(ENDS)):
        before, _ = known.mark(ENDS, SEEN)
        assert known.mark([*ENDS, 0], SEEN) == [before | SEEN, before | SEEN, 0]
