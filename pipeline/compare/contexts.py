"""The contexts of a set of prompts: a token with all before it, once however many prompts begin so.

A causal model says the same of the same beginning, so repeated ones are no further evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Contexts:
    """Contexts, numbered, of prompts."""

    numbers: tuple[Int[np.ndarray, " T"], ...]
    """For each prompt the number of the context at each position; -1 where an earlier prompt had it."""

    stratum: Int[np.ndarray, " contexts"]
    """Stratum of each context: those of the same token at a similar position."""


def contexts_of(prompts: Sequence[Sequence[int]]) -> Contexts:
    """Number the contexts of prompts, given by their token ids, and put them into strata."""
    seen: dict[tuple[int, int], int] = {}
    numbers, tokens, positions = [], [], []
    for prompt in prompts:
        context, own = -1, np.full(len(prompt), -1)
        for position, token in enumerate(prompt):
            # A context is the one before it and one more token.
            longer = (context, token)
            if longer not in seen:
                own[position] = seen[longer] = len(seen)
                tokens.append(token)
                positions.append(position)
            context = seen[longer]
        numbers.append(own)
    return Contexts(tuple(numbers), _strata(np.array(tokens), np.array(positions)))


def prompts_of(prompts: Sequence[Sequence[int]]) -> Contexts:
    """Take each whole prompt for a context, of the stratum of its last token."""
    last = np.array([prompt[-1] for prompt in prompts])
    numbers = tuple(np.full(len(prompt), index) for index, prompt in enumerate(prompts))
    return Contexts(numbers, _strata(last, np.zeros_like(last)))


def _strata(
    token: Int[np.ndarray, " contexts"], position: Int[np.ndarray, " contexts"]
) -> Int[np.ndarray, " contexts"]:
    """Return each context's stratum: token and band of positions, or less where that would be one alone.

    What cannot be dealt out would be no null: a token that stands alone in its band joins its others
    anywhere, and tokens that occur in one context only join each other, by band.
    """
    band = np.log2(1 + position).astype(np.int64)
    stratum = np.full(len(token), -1)
    for name in (token * (band.max() + 1) + band, token, band):
        left = np.flatnonzero(stratum < 0)
        _, index, size = np.unique(name[left], return_inverse=True, return_counts=True)
        shared = (size[index] > 1) | (name is band)
        stratum[left[shared]] = stratum.max(initial=-1) + 1 + index[shared]
    return stratum
