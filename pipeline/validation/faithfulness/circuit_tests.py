"""Tests of necessity and sufficiency of a circuit, each beside the sets of `compared_sets`.

- necessity: the circuit's features are set to 0, or those of a set in its place. The same for its most
  influential features alone, whose random sets may hold the rest of the circuit.
- sufficiency: all active features outside the circuit are set to 0, errors are kept; in the place of the
  circuit another set is kept. In the replacement run, again with the errors taken away.

Each is asked in several runs, because there are two questions. The live runs are the model, with its
attention patterns held or free: does it use the circuit? Its MLPs answer to every change themselves, and make
up for much of it. In the replacement run the dictionary stands in for the MLPs: does the circuit carry what
the whole graph computes? Taking the errors away means something there alone: live MLPs write most of their
output whatever is subtracted from it.

At stake is the explained value (see `effects`) in the clean run less that with every active feature at 0;
a set's loss, or what it keeps, is given as a share of it. A graph whose features decide next to nothing has
no shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.faithfulness.compared_sets import ComparedSets, Indices, draw_sets
from pipeline.validation.faithfulness.effects import Effects

LEAST_LOGITS = 0.1
"""Logits below which nothing is at stake."""

LEAST_SHARE = 0.1
"""Share of an explained feature's pre-activation below which nothing is at stake: its unit is its own."""

FREE_DRAWS = 20
"""Matched sets in the run with free patterns, whose medians stand beside those of the run with held ones."""


@dataclass(frozen=True)
class SetTest:
    """One chosen set and its competitors, as rows of interventions."""

    name: str
    """`necessity`, `top_necessity`, `sufficiency` or `sufficiency_without_errors`."""

    sets: ComparedSets
    n_active: int

    @property
    def ablated(self) -> tuple[Indices, ...]:
        """Features set to 0 in each row: the sets themselves, or all but them."""
        if self.is_of_loss:
            return self.sets.rows
        everything = np.arange(self.n_active)
        return tuple(np.setdiff1d(everything, kept, assume_unique=True) for kept in self.sets.rows)

    @property
    def is_of_loss(self) -> bool:
        """True for necessity: the more is lost the better."""
        return self.name.endswith("necessity")

    @property
    def without_errors(self) -> bool:
        """True if the errors are taken away as well."""
        return self.name == "sufficiency_without_errors"


@dataclass(frozen=True)
class Baselines:
    """The value with all features and with none: the most that a set can lose."""

    clean: float
    """Value of the clean run."""

    ablated: float
    """The same with every active feature at 0."""

    least: float = LEAST_LOGITS
    """|stake| below which nothing is at stake."""

    @property
    def stake(self) -> float:
        """What the features decide; negative where they speak against the target."""
        return self.clean - self.ablated

    @property
    def is_at_stake(self) -> bool:
        """True if there is enough to lose for a share of it to mean something."""
        return abs(self.stake) >= self.least > 0

    def kept(self, value: float) -> float | None:
        """Return the share that is left; None where nothing is at stake."""
        return (value - self.ablated) / self.stake if self.is_at_stake else None

    def towards_clean(self, values: Float[np.ndarray, " B"]) -> Float[np.ndarray, " B"]:
        """Return the values with the sign that makes the clean run's larger than the ablated one's."""
        return values if self.stake >= 0 else -values


@dataclass(frozen=True)
class SetResult:
    """A circuit among its competitors."""

    test: SetTest
    baselines: Baselines
    effects: Effects
    """Of the rows of `test.ablated`."""

    @property
    def rank(self) -> int:
        """1 for the strongest loss (necessity) or the most kept; ties count against the circuit."""
        values = self.baselines.towards_clean(self.effects.value)
        own, null = values[0], values[self.test.sets.slices["matched"]]
        ahead = null <= own if self.test.is_of_loss else null >= own
        return 1 + int(ahead.sum())

    def values(self, kind: str) -> Float[np.ndarray, " m"]:
        """Return the values of one kind of set."""
        return self.effects.value[self.test.sets.slices[kind]]

    def share(self, kind: str = "own") -> float | None:
        """Return the share lost (necessity) or kept (sufficiency), the median of a kind of set."""
        kept = self.baselines.kept(float(np.median(self.values(kind))))
        return kept if kept is None or not self.test.is_of_loss else 1 - kept


def plan_tests(
    circuit: Circuit,
    sizes: Float[np.ndarray, " N"],
    losses: Float[np.ndarray, " N"],
    draws: int,
    top: int,
    random: np.random.Generator,
) -> list[SetTest]:
    """Draw the competitors of a circuit's tests; those without errors come last.

    Args:
        circuit: the circuit.
        sizes: write norm of each active feature, by which sets are matched.
        losses: cost of ablating each active feature alone.
        draws: random sets of each test.
        top: number of its most influential features that are tested by themselves.
        random: source of the draws.

    """
    kept = np.flatnonzero(circuit.kept)
    most = _among_active(circuit, circuit.by_influence[:top])
    of_circuit, of_top = (draw_sets(circuit, sizes, own, losses, draws, random) for own in (kept, most))
    n_active = len(circuit.active)
    return [
        SetTest("necessity", of_circuit, n_active),
        SetTest("top_necessity", of_top, n_active),
        SetTest("sufficiency", of_circuit, n_active),
        SetTest("sufficiency_without_errors", of_circuit, n_active),
    ]


def free_tests(plans: list[SetTest]) -> list[SetTest]:
    """Return the tests that are done again with free patterns."""
    return [
        SetTest(plan.name, plan.sets.fewer(FREE_DRAWS), plan.n_active)
        for plan in plans
        if plan.name in ("necessity", "sufficiency")
    ]


def _among_active(circuit: Circuit, features: Indices) -> Indices:
    """Return the indices of some kept features among the active ones."""
    index_of = {tuple(row): index for index, row in enumerate(circuit.active.tolist())}
    return np.array([index_of[tuple(row)] for row in circuit.features[features].tolist()], dtype=int)


def faithfulness_columns(
    results: list[SetResult], prefix: str = "", ranked: bool = True
) -> dict[str, float | int | None]:
    """Return the columns of `faithfulness` that a run's tests fill; ranks where all random sets were run."""
    row: dict[str, float | int | None] = {}
    for result in results:
        name = f"{prefix}{result.test.name}"
        row[name] = result.share()
        row[f"{name}_null"] = result.share("matched")
        row[f"{name}_active_null"] = result.share("active")
        row[f"{name}_by_norm"] = result.share("largest")
        row[f"{name}_worst"] = result.share("worst")
        if ranked:
            row[f"{name}_rank"] = result.rank
    return row
