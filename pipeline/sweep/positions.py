"""The positions of a prompt that get a graph: the rule as a user writes it, and what it comes to.

Nothing heavy is imported here: the rule is part of the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

Positions = str | tuple[int, ...]
"""`last`, `all`, `last-K`, `generated`, or positions by number."""

LAST, ALL, GENERATED = "last", "all", "generated"

LAST_FEW = re.compile(r"last-([1-9]\d{0,5})")

RULE = "`last`, `all`, `last-8`, `generated` or a list such as [3, 7, -1]"


def checked_positions(value: Any) -> Positions:
    """Return a rule as it is stored, from a sweep file or words of a command line.

    Raises:
        ValueError: it is none.

    """
    words = [value] if isinstance(value, (str, int)) else value
    alone = words[0] if isinstance(words, Sequence) and len(words) == 1 else None
    if isinstance(alone, str) and (alone in (LAST, ALL, GENERATED) or LAST_FEW.fullmatch(alone)):
        return alone
    try:
        numbers = {_number(word) for word in words}
    except (TypeError, ValueError):
        raise ValueError(f"must be {RULE}") from None
    if not numbers or 0 in numbers:
        raise ValueError(f"must be {RULE}; 0 is the opening token, after which nothing is explained")
    return tuple(sorted(numbers))


def _number(word: Any) -> int:
    if isinstance(word, bool) or not isinstance(word, (int, str)):
        raise ValueError(word)
    return int(word)


def last_position(rule: Positions, n_positions: int) -> int:
    """Return the last position of a prompt that gets a graph; its own where the rule names one too far."""
    if isinstance(rule, str) or not all(-n_positions < position < n_positions for position in rule):
        return n_positions - 1
    return max(position % n_positions for position in rule)


def positions_of(rule: Positions, n_positions: int, zero_positions: int) -> list[int]:
    """Return the positions of a prompt that get a graph, ascending; those that it does not have as they are.

    Args:
        rule: any but `generated`.
        n_positions: of the prompt.
        zero_positions: first positions that carry no features.

    """
    last = n_positions - 1
    if rule == LAST:
        return [last]
    if isinstance(rule, str):
        few = LAST_FEW.fullmatch(rule)
        # A prompt that is nothing but an opening has a last position all the same.
        first = min(zero_positions, last)
        return list(range(max(first, n_positions - int(few[1])) if few else first, n_positions))
    return sorted({position % n_positions if -n_positions < position < 0 else position for position in rule})


def most_graphs(rule: Positions, max_new_tokens: int) -> int:
    """Return about how many graphs a prompt gets at most; of all positions, as many as a shard may hold."""
    if rule == GENERATED:
        return max_new_tokens
    if rule == LAST:
        return 1
    if isinstance(rule, str):
        few = LAST_FEW.fullmatch(rule)
        return int(few[1]) if few else ALL_POSITIONS
    return len(rule)


ALL_POSITIONS = 1 << 20
"""More than any shard holds: texts of which every position is traced are shards of their own."""
