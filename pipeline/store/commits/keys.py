"""The identity of a prompt, a run and a shard: computed here and nowhere else.

BLAKE2b with a personal tag for each kind, so that a prompt and a run can never share a key by having the
same bytes. Of 64 bits, a billion prompts have a 3% chance that any two collide; a million, one in 37
million. Keys are signed because Parquet readers, Delta and Java know no unsigned integers.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np

SIGNED = struct.Struct("<q")

LOWEST_KEY, KEYS = -(2**63), 2**64

PROMPT, TARGETED, POSITION, TEXT, RUN = (
    blake2b(digest_size=8, person=person) for person in (b"prompt", b"targeted", b"position", b"text", b"run")
)
"""Hashes that were fed nothing yet: a copy costs half of a new one, and a sweep hashes every prompt."""


def prompt_key(token_ids: Sequence[int], targets: Sequence[int] = ()) -> int:
    """64 bits that name a prompt: the same tokens are the same prompt.

    Args:
        token_ids: what is traced.
        targets: numbers that say what this prompt's graph explains, where prompts differ in that.

    """
    data = struct.pack(f"<{len(token_ids)}q", *token_ids)  # numpy takes four times as long for a short list
    if not len(targets):
        return _signed(data, PROMPT)
    # The length in front: without it the last tokens could be taken for targets.
    return _signed(np.asarray([len(token_ids), *targets], dtype="<i8").tobytes() + data, TARGETED)


def position_key(prompt_key: int, position: int) -> int:
    """64 bits that name a position of a text, other than the one that has the text's own key."""
    return _signed(struct.pack("<2q", prompt_key, position), POSITION)


def text_key(text: str) -> int:
    """64 bits that name a prompt which has no tokens, because they are what failed."""
    return _signed(text.encode("utf-8", "surrogatepass"), TEXT)


def run_key(run: Mapping[str, Any]) -> int:
    """64 bits that name everything that changes a result; the order of the keys does not matter."""
    return _signed(canonical_json(run).encode(), RUN)


def shard_id(prompt_keys: Iterable[int], run_key: int) -> str:
    """The name of a unit of work, 32 hexadecimal digits; the order of the prompts does not matter."""
    keys = np.array([run_key, *sorted(prompt_keys)], dtype="<i8")
    return blake2b(keys.tobytes(), digest_size=16, person=b"shard").hexdigest()


def key_ranges(count: int) -> Iterator[tuple[int, int]]:
    """Cut all prompt keys into ranges, each by its first and last key; of hashes, all hold about as many."""
    bounds = [LOWEST_KEY + KEYS * i // count for i in range(count + 1)]
    return ((low, high - 1) for low, high in pairwise(bounds))


def canonical_json(value: Mapping[str, Any]) -> str:
    """The one spelling of a JSON value: keys sorted, no spaces, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _signed(data: bytes, empty: blake2b) -> int:
    fed = empty.copy()
    fed.update(data)
    (key,) = SIGNED.unpack(fed.digest())
    return key
