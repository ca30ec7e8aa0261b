"""Tests of necessity and sufficiency of a circuit, each beside matched random feature sets.

- necessity: the circuit's features are set to 0; a random set in its place is drawn from the active
  features outside it. The same for its most influential features alone, whose random sets may hold the
  rest of the circuit.
- sufficiency: all active features outside the circuit are set to 0, errors are kept; in the place of the
  circuit a random set is kept. In the replacement run, again with the errors taken away.

Each is done to the competitor that matters, too: as many features as the circuit has, those that write most.

Each is asked in two runs, because there are two questions. The live run is the model: does it use the
circuit? Its MLPs answer to every change themselves, and make up for much of it. In the replacement run the
dictionary stands in for the MLPs: does the circuit carry what the whole graph computes? Taking the errors
away means something there alone: live MLPs write most of their output whatever is subtracted from it.

At stake is the explained value (see `effects`) in the clean run less that with every active feature at 0;
a set's loss, or what it keeps, is given as a share of it. A graph whose features decide next to nothing has
no shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.faithfulness.effects import Effects
from pipeline.validation.faithfulness.sampling import MatchedSampler, MatchedSet

_NAMES = ("necessity", "top_necessity", "sufficiency", "sufficiency_without_errors")
"""Columns of the tests, in the order of `plan_tests`."""

Indices = Int[np.ndarray, " m"]

LEAST_LOGITS = 0.1
"""Logits below which nothing is at stake."""

LEAST_SHARE = 0.1
"""Share of an explained feature's pre-activation below which nothing is at stake: its unit is its own."""


@dataclass(frozen=True)
class SetTest:
    """One set of active features and its random stand-ins, as rows of interventions."""

    test: str
    """`necessity`, `sufficiency` or `sufficiency_without_errors`."""

    ablated: tuple[Indices, ...]
    """Features set to 0 in each row: the circuit's own, one row a random set, the largest by write norm."""

    stand_ins: tuple[MatchedSet, ...]
    """The random sets."""

    @property
    def without_errors(self) -> bool:
        """True if the errors are taken away as well."""
        return self.test == "sufficiency_without_errors"


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
    """A circuit among its random sets."""

    test: SetTest
    baselines: Baselines
    effects: Effects
    """Of the rows of `test.ablated`."""

    @property
    def rank(self) -> int:
        """1 for the strongest loss (necessity) or the most kept; ties count against the circuit."""
        values = self.baselines.towards_clean(self.effects.value)
        own, null = values[0], values[1:-1]
        ahead = null <= own if self.test.test == "necessity" else null >= own
        return 1 + int(ahead.sum())

    @property
    def null(self) -> Float[np.ndarray, " draws"]:
        """Values of the random sets."""
        return self.effects.value[1:-1]

    def share(self, value: float | None = None) -> float | None:
        """Return the share lost (necessity) or kept (sufficiency) at a value: by default the circuit's."""
        kept = self.baselines.kept(float(self.effects.value[0] if value is None else value))
        return kept if kept is None or self.test.test != "necessity" else 1 - kept


def plan_tests(
    circuit: Circuit,
    sizes: Float[np.ndarray, " N"],
    draws: int,
    top: int,
    random: np.random.Generator,
) -> list[SetTest]:
    """Draw the random sets of a circuit's tests; those without errors come last.

    Args:
        circuit: the circuit.
        sizes: write norm of each active feature, by which sets are matched.
        draws: random sets of each test.
        top: number of its most influential features that are tested by themselves.
        random: source of the draws.

    """
    everything = np.arange(len(circuit.active))
    by_size = np.argsort(-sizes, kind="stable")
    kept = np.flatnonzero(circuit.kept)
    most = _among_active(circuit, circuit.by_influence[:top])
    of_circuit = _draw(circuit, sizes, kept, draws, random)
    of_top = _draw(circuit, sizes, most, draws, random)
    sets = (kept, *(s.indices for s in of_circuit), by_size[: len(kept)])
    outside = tuple(np.setdiff1d(everything, own) for own in sets)
    return [
        SetTest("necessity", sets, of_circuit),
        SetTest("necessity", (most, *(s.indices for s in of_top), by_size[: len(most)]), of_top),
        SetTest("sufficiency", outside, of_circuit),
        SetTest("sufficiency_without_errors", outside, of_circuit),
    ]


def _draw(
    circuit: Circuit,
    sizes: Float[np.ndarray, " N"],
    chosen: Indices,
    draws: int,
    random: np.random.Generator,
) -> tuple[MatchedSet, ...]:
    pool = MatchedSampler(circuit.active, sizes, chosen)
    return tuple(pool.draw_equal(random) for _ in range(draws))


def _among_active(circuit: Circuit, features: Indices) -> Indices:
    """Return the indices of some kept features among the active ones."""
    index_of = {tuple(row): index for index, row in enumerate(circuit.active.tolist())}
    return np.array([index_of[tuple(row)] for row in circuit.features[features].tolist()], dtype=int)


def faithfulness_columns(results: list[SetResult], prefix: str = "") -> dict[str, float | int | None]:
    """Return the columns of `faithfulness` that a run's tests fill."""
    row: dict[str, float | int | None] = {}
    for name, result in zip(_NAMES, results, strict=False):
        row[f"{prefix}{name}"] = result.share()
        row[f"{prefix}{name}_null"] = result.share(np.median(result.null))
        row[f"{prefix}{name}_by_norm"] = result.share(result.effects.value[-1])
        row[f"{prefix}{name}_rank"] = result.rank
    return row
