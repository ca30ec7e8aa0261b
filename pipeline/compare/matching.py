"""Features of two dictionaries matched by the correlation of their activations on shared prompts.

An observation is a position of a shared prompt where both tokenise alike, else a whole prompt (a feature's
largest activation there). Of two features over N observations,

    r = (N Sxy - Sx Sy) / sqrt((N Sxx - Sx^2)(N Syy - Sy^2)),

all sums over the few observations in which a feature is active, so that the cost is that of pairs that are
ever active together. Chance is the same search with B's observations shuffled: how high the best of many
unrelated features comes. A pair counts as matched if each is the other's best and r is at least the least
correlation asked for and above 99% of those of chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.compare.sweep_pair import SweepPair
from schemas import DIFF_TABLES

MAX_PROMPTS = 2000
"""Shared prompts that a match is made on, the first by key: a hash, so any are as good as others."""

MIN_ACTIVE = 5
"""Observations in which a feature must be active to be matched."""

CHANCE = 99
"""Percentile of what chance gives that a match must exceed."""

BEST = """
    with sums as (
        select layer_a, feature_a, layer_b, feature_b, count(*) as n_coactive, sum(a.x * b.x) as xy
        from a_active a join b_active b using (observation) group by all
    ), correlated as (
        select *, ($n * xy - a.sx * b.sx) / sqrt(($n * a.sxx - a.sx ** 2) * ($n * b.sxx - b.sx ** 2)) as r
        from sums join a_sums a using (layer_a, feature_a) join b_sums b using (layer_b, feature_b)
        where a.active >= $least and b.active >= $least
    ), ranked as (
        select *,
            row_number() over (partition by layer_a, feature_a order by r desc, layer_b, feature_b) as of_a,
            row_number() over (partition by layer_b, feature_b order by r desc, layer_a, feature_a) as of_b
        from correlated
    )
    select layer_a, feature_a, layer_b, feature_b, r as correlation, n_coactive, of_b = 1 as mutual
    from ranked where of_a = 1 order by layer_a, feature_a
"""


@dataclass(frozen=True)
class Match:
    """Each feature of A with the feature of B most like it."""

    rows: pa.Table
    """Rows of `diff_matches`."""

    chance: float
    """The correlation that 99% of features stay below where there is nothing to match."""

    observations: int
    """Observations that the correlations are over, active features or not."""

    features: int
    """Features of A that are active often enough to be matched."""

    @property
    def matched(self) -> int:
        """Pairs that circuits are compared through."""
        return int(np.sum(self.rows["matched"].to_numpy(zero_copy_only=False)))


def match_features(pair: SweepPair, min_correlation: float, seed: int = 0) -> Match:
    """Match the features of two sweeps, and find what chance gives."""
    for side in "ab":
        pair.connection.execute(
            f"create or replace table {side}_active as {_active(side, pair.aligned)}", {"most": MAX_PROMPTS}
        )
        pair.connection.execute(f"create or replace table {side}_sums as {_sums(side)}")
    observations = _count_observations(pair)
    found = _best(pair, observations)
    _shuffle(pair, seed)
    null = _best(pair, observations)["correlation"].to_numpy()
    chance = float(np.percentile(null, CHANCE)) if len(null) else 0.0
    good = found["correlation"].to_numpy() >= max(min_correlation, chance)
    matched = good & found["mutual"].to_numpy(zero_copy_only=False)
    schema = DIFF_TABLES["diff_matches"].schema
    rows = found.append_column("matched", pa.array(matched)).select(schema.names).cast(schema)
    features = pair.sql("select count(*) as n from a_sums where active >= $least", least=MIN_ACTIVE)
    return Match(rows, chance, observations, features["n"][0].as_py())


def _active(side: str, aligned: bool) -> str:
    """SQL of one side's features by the observations in which they are active."""
    # Of whole prompts the largest activation; a position's number is one of its own while none has a million.
    observation, x, grouping = (
        ("prompt * 1000000 + r.position", "r.activation::double", "")
        if aligned
        else ("prompt", "max(r.activation::double)", "group by all")
    )
    return f"""
        select r.layer as layer_{side}, r.feature as feature_{side}, {observation} as observation, {x} as x
        from {side}_activations r join prompts on r.prompt_key = {side}_key
        where prompt <= $most {grouping}
    """


def _sums(side: str) -> str:
    """SQL of the sums over one feature that correlations need."""
    return f"""
        select layer_{side}, feature_{side}, count(*) as active, sum(x) as sx, sum(x * x) as sxx
        from {side}_active group by all
    """


def _count_observations(pair: SweepPair) -> int:
    count = "sum(positions)" if pair.aligned else "count(*)"
    prompts = "a_graphs join prompts on a_graphs.prompt_key = prompts.a_key where prompts.prompt <= $most"
    return int(pair.sql(f"select {count} as n from {prompts}", most=MAX_PROMPTS)["n"][0].as_py())


def _best(pair: SweepPair, observations: int) -> pa.Table:
    return pair.sql(BEST, n=float(observations), least=MIN_ACTIVE)


def _shuffle(pair: SweepPair, seed: int) -> None:
    """Permute the numbers of B's observations: features of B stay active together, ties to A are cut."""
    numbers = pair.sql("select distinct observation from b_active order by observation")["observation"]
    shuffled = np.random.default_rng(seed).permutation(numbers.to_numpy())
    pair.connection.register("shuffled", pa.table({"observation": numbers, "other": shuffled}))
    pair.connection.execute(
        "create or replace table b_active as select layer_b, feature_b, other as observation, x "
        "from b_active join shuffled using (observation)"
    )
