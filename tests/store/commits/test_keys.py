from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.store.commits.keys import prompt_key, run_key, shard_id, text_key

INT64 = st.integers(-(2**63), 2**63 - 1)
TOKENS = st.lists(st.integers(0, 2**31 - 1), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def test_keys_stay_what_they_are() -> None:
    """A changed key would make every stored sweep start from the beginning."""
    assert prompt_key([]) == 712493364168411904
    assert prompt_key([1, 2, 3]) == 6665875435974730020
    assert prompt_key([1, 2, 3], [7]) == 6602053323081498594
    assert text_key("héllo") == 4005630813796542577
    assert run_key({"b": [1.5, None], "a": "ü"}) == -7246965922561204708
    assert shard_id([3, -1], 7) == "92c95164ce4061349e68fa3c661de875"


@given(TOKENS, TOKENS)
def test_prompts_share_a_key_exactly_if_they_share_their_tokens(one: list[int], other: list[int]) -> None:
    assert (prompt_key(one) == prompt_key(other)) == (one == other)
    assert prompt_key(np.array(one, dtype=np.int32)) == prompt_key(tuple(one))
    assert -(2**63) <= prompt_key(one) < 2**63


@given(TOKENS, TOKENS, TOKENS, TOKENS)
def test_prompts_share_a_key_exactly_if_they_share_tokens_and_targets(
    one: list[int], ones: list[int], other: list[int], others: list[int]
) -> None:
    assert (prompt_key(one, ones) == prompt_key(other, others)) == ((one, ones) == (other, others))
    assert prompt_key(one, []) == prompt_key(one)
    # Tokens are never taken for targets, nor targets for tokens.
    assert prompt_key([*one, 5], [6]) != prompt_key(one, [5, 6])


@given(st.dictionaries(st.text(), JSON, max_size=5), st.randoms())
def test_a_run_key_depends_on_values_and_not_on_order(run: dict, random) -> None:
    items = list(run.items())
    random.shuffle(items)
    assert run_key(dict(items)) == run_key(run) == run_key(json.loads(json.dumps(run)))
    assert run_key({**run, "one more": 1}) != run_key({**run, "one more": 2})


@given(st.lists(INT64, unique=True, max_size=20), INT64, st.randoms())
def test_a_shard_is_named_by_its_prompts_and_its_run(keys: list[int], run: int, random) -> None:
    shuffled = keys.copy()
    random.shuffle(shuffled)
    assert shard_id(shuffled, run) == shard_id(keys, run)
    assert shard_id(keys, run) != shard_id(keys, run ^ 1)
    assert not keys or shard_id(keys, run) != shard_id(keys[1:], run)


def test_a_text_is_not_taken_for_the_tokens_of_the_same_bytes() -> None:
    assert text_key("\0" * 8) != prompt_key([0])
    assert text_key("") != prompt_key([])
