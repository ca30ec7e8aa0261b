"""Matches between two dictionaries whose features answer to tokens, and share nothing else but copies.

A context is a token at a position. Features of either dictionary are on a token each, and on other contexts
by chance: what they agree on they agree on by the token. A tenth of B's are rescaled copies of A's. The bar
is what 99% of the features stay below, so about 1% of them may be matched falsely. The competitor deals all
contexts out as if they were alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.compare import Observations, match_features

TOKENS, CONTEXTS = 25, 1000
FEATURES, COPIES = 300, 30
MIN_CORRELATION = 0.5


@dataclass(frozen=True)
class Matched:
    """Matches of one draw."""

    false: int
    """Those of features that are no copies of each other."""

    copies: int
    """Those of copies."""


def match_drawn(seed: int, within_token: bool) -> Matched:
    """Draw two dictionaries and match them, with contexts dealt out within their token or anyhow."""
    random = np.random.default_rng(seed)
    token = random.integers(TOKENS, size=CONTEXTS)
    a, b = (_drawn(token, random) for _ in range(2))
    b[:COPIES] = a[:COPIES] * random.uniform(0.1, 10, size=(COPIES, 1))
    stratum = token if within_token else np.zeros_like(token)
    found = match_features(Observations(_table(a), _table(b), stratum), MIN_CORRELATION, seed=seed).rows
    pairs = found.filter(found["matched"])
    one, other = (pairs[name].to_numpy() for name in ("feature_a", "feature_b"))
    copies = int(((one == other) & (one < COPIES)).sum())
    return Matched(len(one) - copies, copies)


def _drawn(token: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw activations, features by contexts: each on a token of its own, and by chance elsewhere."""
    on_token = random.integers(TOKENS, size=FEATURES)[:, None] == token
    on = random.random((FEATURES, CONTEXTS)) < np.where(on_token, 0.9, 0.005)
    return on * random.lognormal(0, 0.3, size=(FEATURES, CONTEXTS))


def _table(active: np.ndarray) -> pa.Table:
    feature, observation = np.nonzero(active)
    columns = {"feature": feature, "observation": observation, "x": active[feature, observation]}
    return pa.table({"layer": np.zeros(len(feature), np.int64), **columns})


def rows(draws: int) -> list[tuple[str, ...]]:
    """Measure matches, dealt out within tokens and anyhow: rows of the report."""
    measured = []
    for units, within in (("within token", True), ("anyhow", False)):
        found = [match_drawn(seed, within) for seed in range(draws)]
        false = np.array([each.false for each in found])
        rate = np.mean([each.false / max(each.false + each.copies, 1) for each in found])
        copies = np.mean([each.copies / COPIES for each in found])
        numbers = (f"{false.mean():,.2f}", f"{(false > 0).mean():.3f}", f"{rate:.3f}", f"{copies:.3f}")
        measured.append(("matches: token", units, *numbers))
    return measured
