"""Roles of positions: what a position is to its prompt, so that prompts of other lengths and words compare.

A position has the first of these that fits:

- opening: the token that was put in front of the prompt.
- last: the last token, which the answer follows.
- subject: a token of the words that a column names, where they stand as whole words before all else.
- earlier: an earlier occurrence of the last token.
- after_earlier: the token after such an occurrence.
- repeated: a token that occurs more than once.
- other: anything else.

A role of one's own is one more function in `RULES`, above those that it goes before.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class PromptTokens:
    """What roles are told from."""

    tokens: Sequence[str]
    """Each token's text."""

    token_ids: Sequence[int]
    has_opening: bool = False
    """True if the first token was put in front of the prompt."""

    subject: str | None = None
    """Words that the prompt is about."""


def _opening(prompt: PromptTokens) -> set[int]:
    return {0} if prompt.has_opening else set()


def _last(prompt: PromptTokens) -> set[int]:
    return {len(prompt.token_ids) - 1}


def _subject(prompt: PromptTokens) -> set[int]:
    """Find the first place of the words among the tokens: as whole words, else as letters without spaces."""
    words = (prompt.subject or "").split()
    if not words:
        return set()
    start = int(prompt.has_opening)  # its text is no part of the prompt's
    texts = prompt.tokens[start:]
    found = _span(texts, r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)")
    if not found:  # tokens that keep no spaces, or a language without
        found = _span(["".join(text.split()) for text in texts], re.escape("".join(words)))
    return {start + place for place in found}


def _span(texts: Sequence[str], pattern: str) -> set[int]:
    """Return which texts the first match in all of them together lies in; spaces are no part of it."""
    match = re.search(pattern, "".join(texts))
    if match is None:
        return set()
    ends = list(accumulate(map(len, texts)))
    return {
        place
        for place, (text, end) in enumerate(zip(texts, ends, strict=True))
        if text.strip() and end - len(text) < match.end() and end > match.start()
    }


def _earlier(prompt: PromptTokens) -> set[int]:
    last = prompt.token_ids[-1]
    return {position for position, token in enumerate(prompt.token_ids[:-1]) if token == last}


def _after_earlier(prompt: PromptTokens) -> set[int]:
    return {position + 1 for position in _earlier(prompt)}


def _repeated(prompt: PromptTokens) -> set[int]:
    counts = Counter(prompt.token_ids)
    return {position for position, token in enumerate(prompt.token_ids) if counts[token] > 1}


RULES: dict[str, Callable[[PromptTokens], set[int]]] = {
    "opening": _opening,
    "last": _last,
    "subject": _subject,
    "earlier": _earlier,
    "after_earlier": _after_earlier,
    "repeated": _repeated,
}
"""The positions of each role, the role that goes before others first."""

ROLES = (*RULES, "other")
"""Names of the roles; a role's number is its place here."""


def roles_of(prompt: PromptTokens) -> list[int]:
    """Return the number of each position's role."""
    roles = [len(RULES)] * len(prompt.token_ids)
    for number, rule in reversed(list(enumerate(RULES.values()))):
        for position in rule(prompt):
            roles[position] = number
    return roles
