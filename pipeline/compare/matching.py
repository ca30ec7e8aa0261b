"""Features of two dictionaries matched by the correlation of their activations on shared prompts.

Places are the positions of shared prompts where both tokenise alike, else whole prompts (a feature's largest
activation there). Of two features over N places, r = (N Sxy - Sx Sy) / sqrt((N Sxx - Sx^2)(N Syy - Sy^2)),
all sums over the few places where a feature is active, so that the cost is that of pairs that are ever active
n_coactive. What chance gives is the same search with B's places dealt out anew: how high the best of many
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
"""Places at which a feature must be active to be matched."""

CHANCE = 99
"""Percentile of what chance gives that a match must exceed."""

ALIGNED_CELLS = """
    select r.layer, r.feature, prompt * 1000000 + r.position as place, r.activation::double as x
    from {side}_activations r join prompts on r.prompt_key = {side}_key where prompt <= $most
"""

PROMPT_CELLS = """
    select r.layer, r.feature, prompt as place, max(r.activation::double) as x
    from {side}_activations r join prompts on r.prompt_key = {side}_key where prompt <= $most group by all
"""

BEST = """
    with sums as (
        select layer_a, feature_a, layer_b, feature_b, count(*) as n_coactive, sum(a.x * b.x) as xy
        from a_cells a join b_cells b using (place) group by all
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

    places: int
    """Places that the correlations are over."""

    features: int
    """Features of A that are active often enough to be matched."""

    @property
    def matched(self) -> int:
        """Pairs that circuits are compared through."""
        return int(np.sum(self.rows["matched"].to_numpy(zero_copy_only=False)))


def match_features(pair: SweepPair, min_correlation: float, seed: int = 0) -> Match:
    """Match the features of two sweeps, and find what chance gives."""
    sql = ALIGNED_CELLS if pair.aligned else PROMPT_CELLS
    for side in "ab":
        cells = sql.format(side=side)
        renamed = f"layer as layer_{side}, feature as feature_{side}, place, x"
        pair.connection.execute(
            f"create or replace table {side}_cells as select {renamed} from ({cells})", {"most": MAX_PROMPTS}
        )
        _sum(pair, side)
    places = _places(pair)
    found = _best(pair, places)
    _deal_out(pair, seed)
    null = _best(pair, places)["correlation"].to_numpy()
    chance = float(np.percentile(null, CHANCE)) if len(null) else 0.0
    good = found["correlation"].to_numpy() >= max(min_correlation, chance)
    matched = good & found["mutual"].to_numpy(zero_copy_only=False)
    schema = DIFF_TABLES["diff_matches"].schema
    rows = found.append_column("matched", pa.array(matched)).select(schema.names).cast(schema)
    features = pair.sql("select count(*) as n from a_sums where active >= $least", least=MIN_ACTIVE)
    return Match(rows, chance, places, features["n"][0].as_py())


def _places(pair: SweepPair) -> int:
    """Count the places, active features or not."""
    count = "sum(positions)" if pair.aligned else "count(*)"
    prompts = "a_graphs join prompts on prompt_key = a_key where prompt <= $most"
    return int(pair.sql(f"select {count} as n from {prompts}", most=MAX_PROMPTS)["n"][0].as_py())


def _sum(pair: SweepPair, side: str) -> None:
    pair.connection.execute(
        f"create or replace table {side}_sums as select layer_{side}, feature_{side}, count(*) as active, "
        f"sum(x) as sx, sum(x * x) as sxx from {side}_cells group by all"
    )


def _best(pair: SweepPair, places: int) -> pa.Table:
    return pair.sql(BEST, n=float(places), least=MIN_ACTIVE)


def _deal_out(pair: SweepPair, seed: int) -> None:
    """Give B's places another's name: what is active together in B stays so, ties to A are cut."""
    places = pair.sql("select distinct place from b_cells order by place")["place"].to_numpy()
    dealt = np.random.default_rng(seed).permutation(places)
    pair.connection.register("dealt", pa.table({"place": places, "other": dealt}))
    pair.connection.execute(
        "create or replace table b_cells as "
        "select layer_b, feature_b, other as place, x from b_cells join dealt using (place)"
    )
