"""What the runs of the test half come to: means over clusters, chance, and what is shown.

At stake on a prompt is the answer's logit less the rival's in the clean run, less the same with all active
features at 0. Every number is a share of that: all that is lost (or kept) over all that is at stake, so that
a prompt on which little is at stake counts for little. (Shares of each prompt would be led by those that
divide by next to nothing.) A cluster of prompts is one observation; intervals are of the ratio
estimator (Cochran, Sampling Techniques, 1977, chapter 6). Beside matched sets the p-value is the rank of the
circuit among the draws, each of which names the same features on all prompts, and over the circuits the false
discovery rate is held (Benjamini-Hochberg). Over the supernodes of all circuits it is held with t-tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from scipy.stats import false_discovery_control
from scipy.stats import t as student

from pipeline.circuits.settings import Settings
from pipeline.validation import LEAST_LOGITS, LEVEL

UNHARMED = 0.1
"""Share of their stake that prompts of other groups may lose, by the whole interval."""

TINY = 1e-9
"""Share below which a spread is rounding."""

COMPETITORS = ("matched", "active", "largest", "rewired")

Row = dict[str, Any]
Key = tuple[str, str, str, int | None, float | None]
"""Circuit, test, mode, supernode, dose."""


@dataclass
class _Runs:
    """The runs of one test."""

    lost: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    """Logits by prompt and kind of set, in the order of the draws; negative stakes turned round."""

    stake: dict[int, float] = field(default_factory=dict)
    """Logits at stake, without their sign."""

    flipped: dict[int, bool] = field(default_factory=dict)

    def add(self, prompt: int, entry: Row) -> None:
        """Add an entry of a prompt."""
        if abs(entry["stake"]) < LEAST_LOGITS:
            return
        self.stake[prompt] = abs(entry["stake"])
        lost = self.lost.setdefault(prompt, {}).setdefault(entry["set"], [])
        lost.append(entry["value"] if entry["stake"] > 0 else -entry["value"])
        if entry["set"] == "circuit":
            self.flipped[prompt] = entry["flipped"]

    def of(self, kind: str) -> Float[np.ndarray, "P draws"]:
        """Return the logits of one kind of set."""
        return np.array([of_kind[kind] for of_kind in self.lost.values()], dtype=float)

    def stakes(self) -> Float[np.ndarray, " P"]:
        """Return what is at stake on each prompt."""
        return np.array([self.stake[prompt] for prompt in self.lost])

    def clusters(self, cluster_of: Mapping[int, int]) -> Int[np.ndarray, " P"]:
        """Return the cluster of each prompt, numbered from 0."""
        return np.unique([cluster_of[prompt] for prompt in self.lost], return_inverse=True)[1]


@dataclass(frozen=True)
class Ratio:
    """A ratio of means over clusters, with its 95% interval where there are two or more."""

    value: float
    low: float | None
    high: float | None
    p_value: float | None
    """Chance of it if the true one were 0; two-sided."""

    @classmethod
    def of(
        cls, lost: Float[np.ndarray, " P"], stake: Float[np.ndarray, " P"], clusters: Int[np.ndarray, " P"]
    ) -> Ratio:
        """Estimate what is lost of what is at stake."""
        counts = np.bincount(clusters)
        of_lost, of_stake = (np.bincount(clusters, values) / counts for values in (lost, stake))
        ratio, n = float(of_lost.sum() / of_stake.sum()), len(counts)
        if n < 2:
            return cls(ratio, None, None, None)
        error = float(np.std((of_lost - ratio * of_stake) / of_stake.mean(), ddof=1) / np.sqrt(n))
        half = float(student.ppf(1 - LEVEL / 2, n - 1)) * error
        if error < TINY:
            return cls(ratio, ratio, ratio, 0.0 if abs(ratio) > TINY else 1.0)
        return cls(ratio, ratio - half, ratio + half, float(2 * student.sf(abs(ratio) / error, n - 1)))

    @property
    def is_above_zero(self) -> bool:
        """True if the whole interval is above 0."""
        return self.low is not None and self.low > 0

    @property
    def is_below_zero(self) -> bool:
        """True if the whole interval is below 0."""
        return self.high is not None and self.high < 0


def rank(
    own: Float[np.ndarray, " P"],
    drawn: Float[np.ndarray, "P draws"],
    clusters: Int[np.ndarray, " P"],
) -> float:
    """Return the two-sided rank of the circuit's ratio among those of the draws, which share its stakes."""
    weights = 1 / np.bincount(clusters)[clusters]
    circuit, draws = weights @ own, weights @ drawn
    above, below = 1 + np.sum(draws >= circuit), 1 + np.sum(draws <= circuit)
    return float(min(1.0, 2 * min(above, below) / (drawn.shape[1] + 1)))


def verdict_rows(
    effects: pa.Table, cluster_of: Mapping[int, int], paraphrases: Mapping[int, str], settings: Settings
) -> list[Row]:
    """Sum up all runs as rows of `circuit_tests`.

    Args:
        effects: rows of `circuit_effects`.
        cluster_of: cluster of each prompt.
        paraphrases: set of paraphrases that a prompt is in, where there are any.
        settings: the rules.

    """
    runs: dict[Key, _Runs] = {}
    for row in effects.to_pylist():
        for entry in sorted(row["effects"], key=lambda one: one["draw"]):
            key = (entry["circuit"], entry["test"], entry["mode"], entry["supernode"], entry["dose"])
            runs.setdefault(key, _Runs()).add(row["prompt_key"], entry)
    rows: list[Row] = []
    for key in sorted(runs, key=str):
        if runs[key].lost:
            rows += _rows(key, runs[key], cluster_of)
            if key[1:3] == ("necessity", "default") and paraphrases:
                rows += _invariance(key, runs[key], cluster_of, paraphrases)
    _adjust([row for row in rows if row["test"] == "minimality"], settings.fdr)
    for test in ("necessity", "sufficiency"):
        against = [row for row in rows if row["test"] == test and row["against"] == "matched"]
        _adjust([row for row in against if row["mode"] == "default"], settings.fdr)
    return rows


def _rows(key: Key, runs: _Runs, cluster_of: Mapping[int, int]) -> list[Row]:
    """Return the row of the circuit, and those of what it is compared with."""
    clusters = runs.clusters(cluster_of)
    about = dict(zip(("circuit", "test", "mode", "supernode", "dose"), key, strict=True))
    about |= {"prompts": len(clusters), "clusters": int(clusters.max()) + 1}
    own, stake = runs.of("circuit")[:, 0], runs.stakes()
    mean = Ratio.of(own, stake, clusters)
    flipped = float(np.mean([runs.flipped[prompt] for prompt in runs.lost]))
    row = {**about, "against": None, **_mean(mean), "flipped": flipped, "is_shown": mean.is_above_zero}
    if key[1] == "minimality":
        row["p_value"] = mean.p_value
        row["is_shown"] = mean.is_above_zero or mean.is_below_zero
    if key[1] == "specificity":
        row["is_shown"] = mean.low is not None and mean.low > -UNHARMED and mean.high < UNHARMED
    if key[1] == "dose":
        row["is_shown"] = None
    rows = [row]
    for kind in COMPETITORS:
        if kind in next(iter(runs.lost.values())):
            drawn = runs.of(kind)
            more = Ratio.of(own - drawn.mean(1), stake, clusters)
            chance = rank(own, drawn, clusters) if kind == "matched" and key[2] == "default" else None
            rows.append(
                {**about, "against": kind, **_mean(more), "p_value": chance, "is_shown": more.is_above_zero}
            )
    return rows


def _invariance(
    key: Key, runs: _Runs, cluster_of: Mapping[int, int], paraphrases: Mapping[int, str]
) -> list[Row]:
    """Return the least necessity within sets of paraphrases, of sets with two tested prompts or more."""
    sets: dict[str, list[int]] = {}
    for place, prompt in enumerate(runs.lost):
        if prompt in paraphrases:
            sets.setdefault(paraphrases[prompt], []).append(place)
    several = [places for places in sets.values() if len(places) > 1]
    if not several:
        return []
    own, stake, clusters = runs.of("circuit")[:, 0], runs.stakes(), runs.clusters(cluster_of)
    least = np.array([places[int(np.argmin(own[places] / stake[places]))] for places in several])
    _, of_set = np.unique([clusters[places[0]] for places in several], return_inverse=True)
    mean = Ratio.of(own[least], stake[least], of_set)
    about = {"circuit": key[0], "test": "invariance", "mode": key[2], "supernode": None, "dose": None}
    counts = {"prompts": sum(map(len, several)), "clusters": int(of_set.max()) + 1}
    return [{**about, **counts, "against": None, **_mean(mean), "is_shown": mean.is_above_zero}]


def _adjust(rows: Sequence[Row], level: float) -> None:
    """Fill in q-values, and let what is shown hold them."""
    tested = [row for row in rows if row.get("p_value") is not None]
    if tested:
        for row, q_value in zip(
            tested, false_discovery_control([row["p_value"] for row in tested]), strict=True
        ):
            row["q_value"] = float(q_value)
            row["is_shown"] = bool(row["is_shown"] and q_value <= level)


def _mean(mean: Ratio) -> Row:
    return {"value": mean.value, "low": mean.low, "high": mean.high}
