"""Features of two dictionaries matched by the correlation of their activations on shared prompts.

An observation is a context that both have traced: a token with all before it, once however many prompts begin
so; or, where the two tokenise differently, a whole prompt (a feature's largest activation there). Of two
features over N observations,

    r = (N Sxy - Sx Sy) / sqrt((N Sxx - Sx^2)(N Syy - Sy^2)),

all sums over the few observations in which a feature is active, so that the cost is that of pairs that are
ever active together.

Any two dictionaries of a model answer to the same tokens, also one that was never trained. So chance is the
same search with B's observations dealt out anew among those of the same token at a similar position: what
features agree on by the token alone, they agree on there too. Contexts that resemble one another beyond their
token lead features together as well, whatever they were trained for; where the model can be run, the search
against a random dictionary as sparse as B says how far. A pair counts as matched if each is the other's best,
and r is at least the least correlation asked for and what 99% of features that are active about as often stay
below in either search. A second random dictionary, held to the same bars, says what share nothing reaches.

Beside it, the one-to-one assignment: all pairs above that bar, each feature in one at most, such that the sum
of their correlations is largest.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from schemas import DIFF_TABLES

MIN_ACTIVE = 5
"""Observations in which a feature must be active to be matched."""

CHANCE = 99
"""Percentile of what chance gives that a match must exceed."""

CANDIDATES = 10
"""Most similar features that the assignment chooses among, for each feature of either side."""

LARGEST_ASSIGNMENT = 4096
"""Features of A that are assigned at once: a larger set loses its weaker half of pairs first."""

LEAST_VARIANCE = 1e-9
"""Share of its mean square that a feature must vary by: one that never changes correlates with nothing."""

ROUNDING = 1e-6
"""Correlations that differ by less are equal: those of a feature and its rescaled copy."""

BEST = """
    with sums as (
        select a.item as a, b.item as b, count(*) as n_coactive, sum(a.x * b.x) as xy
        from a_active a join b_active b using (observation) group by all
    ), correlated as (
        select sums.a, sums.b, n_coactive,
            ($n * xy - a.sx * b.sx) / sqrt(($n * a.sxx - a.sx ** 2) * ($n * b.sxx - b.sx ** 2)) as r
        from sums join a_sums a on a.item = sums.a join b_sums b on b.item = sums.b
    ), ranked as (
        select *, row_number() over (partition by a order by r desc, b) as of_a,
            row_number() over (partition by b order by r desc, a) as of_b
        from correlated
    )
    select a, b, r, n_coactive, of_a, of_b from ranked where of_a <= $most or of_b <= $most order by a, b
"""


Pairs = dict[str, np.ndarray]
"""Pairs of features as columns: numbers `a` and `b`, `r`, `n_coactive`, and the ranks `of_a` and `of_b`."""


@dataclass(frozen=True)
class Observations:
    """The contexts that two dictionaries are compared on, and what is active in them."""

    a: pa.Table
    """Rows (layer, feature, observation, x) of A, active features alone."""

    b: pa.Table
    """The same of B."""

    stratum: Int[np.ndarray, " N"]
    """Stratum of each observation: the token and about where it stands."""


@dataclass(frozen=True)
class Match:
    """Each feature of A with the feature of B most like it."""

    rows: pa.Table
    """Rows of `diff_matches`."""

    chance: dict[int, float]
    """By a band's fewest observations, the correlation that 99% of its features stay below by chance."""

    random_share: float | None
    """Share of A's features that a random dictionary matches; None where the model was not run."""

    observations: int
    """Observations that the correlations are over, active features or not."""

    features: int
    """Features of A that can be matched: active often enough, and not equally everywhere."""

    @property
    def matched(self) -> int:
        """Pairs that circuits are compared through."""
        return int(np.sum(self.rows["matched"].to_numpy(zero_copy_only=False)))

    @property
    def assigned(self) -> int:
        """Pairs of the one-to-one assignment."""
        return self.rows.num_rows - self.rows["assigned_feature_b"].null_count

    @property
    def matched_share(self) -> float:
        """Share of A's features that are matched."""
        return self.matched / max(self.features, 1)

    @property
    def assigned_share(self) -> float:
        """Share of A's features that are assigned."""
        return self.assigned / max(self.features, 1)


def match_features(
    observed: Observations,
    min_correlation: float,
    random: tuple[pa.Table, pa.Table] | None = None,
    seed: int = 0,
) -> Match:
    """Match the features of two dictionaries, and find what chance gives.

    Args:
        observed: what is active where in either.
        min_correlation: least correlation of a match.
        random: what is active of two random dictionaries: one sets the bars, one is held to them.
        seed: of the dealing out.

    """
    n = len(observed.stratum)
    search = _Search(observed.a, n)
    pairs, b = search.best(observed.b)
    band = _band(search.a["active"].to_numpy())
    null, _ = search.best(_dealt_out(observed.b, observed.stratum, np.random.default_rng(seed)))
    chance = _chance(band, null)
    if random is not None:
        chance = np.maximum(chance, _chance(band, search.best(random[0])[0]))
    least = np.maximum(chance[band], min_correlation) - ROUNDING

    def above(pairs: Pairs) -> np.ndarray:
        return pairs["r"] >= least[pairs["a"]]

    random_share = None
    if random is not None:
        nothing, _ = search.best(random[1])
        random_share = _matched(nothing, above(nothing)).sum() / max(len(band), 1)
    matched = _matched(pairs, above(pairs))
    assigned = _assign(_select(pairs, above(pairs)))
    rows = _rows(search.a, b, pairs, matched, assigned, chance[band])
    bars = {MIN_ACTIVE << int(k): float(chance[k]) for k in np.unique(band)}
    return Match(rows, bars, random_share, n, search.a.num_rows)


class _Search:
    """The features of A, for which the most similar ones of other dictionaries are sought."""

    def __init__(self, active: pa.Table, observations: int) -> None:
        self._connection = duckdb.connect()
        self._observations = observations
        self.a = self._load("a", active)

    def best(self, active: pa.Table) -> tuple[Pairs, pa.Table]:
        """Return the most similar pairs of each feature of either side, and the other's features."""
        b = self._load("b", active)
        values = {"n": float(self._observations), "most": CANDIDATES}
        return self._connection.sql(BEST, params=values).fetchnumpy(), b

    def _load(self, side: str, active: pa.Table) -> pa.Table:
        """Number the features that can be matched, and return them: layer, feature, active."""
        self._connection.register("given", active)
        n = self._observations
        self._connection.execute(f"""
            create or replace temp table once as
                select layer, feature, observation, max(x) as x from given group by all;
            create or replace table {side}_sums as
                select row_number() over (order by layer, feature) - 1 as item, * from (
                    select layer, feature, count(*) as active, sum(x) as sx, sum(x * x) as sxx
                    from once group by all having count(*) >= {MIN_ACTIVE}
                        and {n} * sum(x * x) - sum(x) ** 2 > {LEAST_VARIANCE} * {n} * sum(x * x)
                );
            create or replace table {side}_active as
                select item, observation, x from once join {side}_sums using (layer, feature)
        """)
        question = f"select layer, feature, active from {side}_sums order by item"
        return self._connection.sql(question).to_arrow_table()


def _dealt_out(active: pa.Table, stratum: Int[np.ndarray, " N"], random: np.random.Generator) -> pa.Table:
    """Deal the observations out anew within each stratum: features stay active together."""
    members = np.argsort(stratum, kind="stable")
    other = np.empty(len(stratum), np.int64)
    other[members] = members[np.lexsort((random.random(len(stratum)), stratum[members]))]
    index = active.column_names.index("observation")
    return active.set_column(index, "observation", pa.array(other[active["observation"].to_numpy()]))


def _matched(pairs: Pairs, above: np.ndarray) -> np.ndarray:
    """Tell of each pair if it is a match: each the other's best, and above the bar."""
    return above & (pairs["of_a"] == 1) & (pairs["of_b"] == 1)


def _select(pairs: Pairs, which: np.ndarray) -> Pairs:
    return {name: values[which] for name, values in pairs.items()}


def _band(active: Int[np.ndarray, " features"]) -> Int[np.ndarray, " features"]:
    """Return the band of activation frequency of each feature: each is twice as wide as the one before."""
    return np.log2(active / MIN_ACTIVE).astype(np.int64)


def _chance(band: Int[np.ndarray, " features"], null: Pairs) -> Float[np.ndarray, " bands"]:
    """Return the bar of each band: what 99% of its features stay below where only tokens agree."""
    best = np.zeros(len(band))  # a feature that meets nothing of B agrees with nothing
    first = null["of_a"] == 1
    best[null["a"][first]] = null["r"][first]
    bars = np.zeros(band.max(initial=0) + 1)
    for k in np.unique(band):
        bars[k] = np.percentile(best[band == k], CHANCE)
    return bars


def _assign(pairs: Pairs) -> dict[int, tuple[int, float]]:
    """Return the one-to-one assignment of largest total correlation: A's feature to B's, and their r."""
    if not len(pairs["a"]):
        return {}
    n_a = pairs["a"].max() + 1
    size = n_a + pairs["b"].max() + 1
    ties = coo_array((np.ones(len(pairs["a"])), (pairs["a"], n_a + pairs["b"])), shape=(size, size))
    component = connected_components(ties, directed=False)[1][pairs["a"]]
    order = np.argsort(component, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(component[order])) + 1)
    found: dict[int, tuple[int, float]] = {}
    for part in parts:
        found |= _assign_tied(_select(pairs, part))
    return found


def _assign_tied(pairs: Pairs) -> dict[int, tuple[int, float]]:
    """Assign features that are all tied to one another by pairs."""
    a, row = np.unique(pairs["a"], return_inverse=True)
    b, column = np.unique(pairs["b"], return_inverse=True)
    if len(a) > LARGEST_ASSIGNMENT:
        return _assign(_select(pairs, pairs["r"] > np.median(pairs["r"])))
    similarity = np.zeros((len(a), len(b)))
    similarity[row, column] = pairs["r"]
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    return {
        int(a[i]): (int(b[j]), float(similarity[i, j]))
        for i, j in zip(rows, columns, strict=True)
        if similarity[i, j] > 0
    }


def _rows(
    a: pa.Table,
    b: pa.Table,
    pairs: Pairs,
    matched: np.ndarray,
    assigned: dict[int, tuple[int, float]],
    chance: Float[np.ndarray, " features"],
) -> pa.Table:
    """Return the rows of `diff_matches`, a row for each feature of A that is ever active with one of B."""
    first = pairs["of_a"] == 1
    best = _select(pairs, first)
    given = [assigned.get(int(item), (None, None)) for item in best["a"]]
    other = pa.array([item for item, _ in given], pa.int64())
    schema = DIFF_TABLES["diff_matches"].schema
    columns = {
        "layer_a": a["layer"].take(best["a"]),
        "feature_a": a["feature"].take(best["a"]),
        "layer_b": b["layer"].take(best["b"]),
        "feature_b": b["feature"].take(best["b"]),
        "correlation": best["r"],
        "chance": chance[best["a"]],
        "n_coactive": best["n_coactive"],
        "mutual": best["of_b"] == 1,
        "matched": matched[first],
        "assigned_layer_b": b["layer"].take(other),
        "assigned_feature_b": b["feature"].take(other),
        "assigned_correlation": pa.array([r for _, r in given], pa.float64()),
        "decoder_cosine": pa.nulls(len(best["a"]), pa.float64()),
    }
    return pa.table({name: columns[name] for name in schema.names}).cast(schema)
