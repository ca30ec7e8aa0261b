"""What changes over a training: learning rate, k, sparsity, in steps that are fixed when it starts.

A training that is given more tokens keeps all of this but its end: so it can go on from the last step before
the decay, and gives what one long training with the same numbers gives.

A layer that has stopped improving on held-out rows may begin its decay before (`decay_of`): a function of
what was measured alone, each layer's own, so that it is the same however layers are cut into groups and
wherever a training was stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt

from pipeline.training.config import DictionaryConfig

SHORT_RUN, FASTER = 2_000, 5
"""Trainings below this many steps learn at so many times the rate,"""

SHORTEST_RUN, FASTEST, HIGHEST = 500, 25, 2e-2
"""and those of single layers by BatchTopK below this many at so many times, up to this (docs/training.md says
what was measured)."""

WARM = 0.3
"""Share of the rate at which a training from a start learns: little is left to learn, and much to lose."""

FIRST_K = 4
"""Multiple of k with which a training starts: more features learn something before places become few."""


MEASUREMENTS = 100
"""Of held-out rows over a training."""

WINDOW = 10
"""Measurements in which the error must fall: a tenth of the training,"""

LEAST_GAIN = 0.005
"""by this share."""


@dataclass(frozen=True)
class Schedule:
    """Steps and rates of one training."""

    steps: int
    """Steps of the whole training."""

    decay_from: int
    """First step at which the learning rate falls."""

    learning_rate: float
    """Highest learning rate."""

    warm_up: int
    """Steps until the highest learning rate."""

    k: int
    first_k: int

    narrowing: int
    """Steps in which k falls from the first to the last, in equal ratios."""

    dead_after: int
    """Tokens without an activation after which a feature counts as dead."""

    watch_every: int
    """Steps between two measurements on held-out rows."""

    @classmethod
    def of(cls, config: DictionaryConfig) -> Schedule:
        """Return the schedule of a dictionary's training."""
        steps = config.n_steps
        rate = config.learning_rate or _learning_rate(config)
        warm = config.start is not None  # what is warm is not narrowed again
        return cls(
            steps=steps,
            decay_from=max(1, round((1 - config.decay) * steps)),
            learning_rate=rate,
            warm_up=min(1_000, max(1, steps // 20)),
            k=config.k,
            first_k=config.k if warm else min(FIRST_K * config.k, config.features),
            narrowing=1 if warm else max(1, round(config.narrowing * steps)),
            dead_after=config.dead_after or min(10_000_000, max(config.batch_size, config.tokens // 50)),
            watch_every=max(1, steps // MEASUREMENTS),
        )

    def longer(self, config: DictionaryConfig) -> Schedule:
        """Return the same schedule with the steps of a configuration that has more tokens."""
        of_config = Schedule.of(config)
        return replace(self, steps=of_config.steps, decay_from=of_config.decay_from)

    def is_watched(self, step: int) -> bool:
        """Tell if held-out rows are measured before a step: while k narrows the error says nothing."""
        return step % self.watch_every == 0 and self.narrowing <= step <= self.decay_from

    def decay_of(self, held_out: Sequence[tuple[int, float]]) -> int:
        """Return the first step at which a layer's learning rate falls.

        Args:
            held_out: steps before which the layer's FVU was measured, and that.

        """
        for last in range(WINDOW, len(held_out)):
            before = min(fvu for _, fvu in held_out[: last - WINDOW + 1])
            lately = min(fvu for _, fvu in held_out[last - WINDOW + 1 : last + 1])
            if lately > (1 - LEAST_GAIN) * before:
                return held_out[last][0]
        return self.decay_from

    def end_of(self, decay_from: int) -> int:
        """Return the number of steps of a layer whose learning rate falls from a step."""
        return decay_from + self.steps - self.decay_from

    def rate(self, step: int, decay_from: int) -> float:
        """Return the learning rate of a step, where it falls from another."""
        rising = min(1.0, (step + 1) / self.warm_up)
        falling = (self.end_of(decay_from) - step) / max(1, self.steps - self.decay_from)
        return self.learning_rate * min(rising, falling if step >= decay_from else 1.0)

    def active(self, step: int) -> int:
        """Return the number of active features of a token, on average, at a step."""
        progress = min(1.0, step / self.narrowing)
        return round(self.first_k ** (1 - progress) * self.k**progress)

    def as_dict(self) -> dict[str, float]:
        """Return the numbers by name."""
        return asdict(self)


def _learning_rate(config: DictionaryConfig) -> float:
    rate = 2e-4 * sqrt(2**14 / config.features)
    if config.start is not None:
        return rate * WARM
    if config.n_steps < SHORTEST_RUN and config.kind != "clt" and config.activation == "batchtopk":
        return max(FASTER * rate, min(HIGHEST, FASTEST * rate))
    return FASTER * rate if config.n_steps < SHORT_RUN else rate
