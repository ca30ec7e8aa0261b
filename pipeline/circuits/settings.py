"""Rules by which circuits are looked for and tested: everything that decides the result."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import ConfigurationError


@dataclass(frozen=True)
class Settings:
    """Rules of finding and testing."""

    subject: str | None = None
    """Column of `graphs` with the words whose positions have the role `subject`."""

    paraphrases: str | None = None
    """Column that prompts share which say the same in other words."""

    fdr: float = 0.05
    """False discovery rate of edges that recur, and of circuits that pass their tests."""

    min_support: int = 3
    """Clusters that must hold an edge for it to be tested, and have a mechanism for it to be a circuit."""

    min_share: float = 0.01
    """Share of the influence on a prompt's target that an edge must carry to count there."""

    draws: int = 99
    """Random sets of each kind that a circuit is compared with."""

    prompts: int = 100
    """Most prompts of the test half that a circuit is tested on, and as many of the other groups."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, low, high in (("fdr", 0.0, 0.5), ("min_share", 0.0, 1.0)):
            if not low < (value := getattr(self, name)) < high:
                raise ConfigurationError(
                    f"--{_option(name)} is {value}: give a number above {low:g} and below {high:g}."
                )
        for name, least in (("min_support", 2), ("draws", 39), ("prompts", 1)):
            if (value := getattr(self, name)) < least:
                raise ConfigurationError(f"--{_option(name)} is {value}: give at least {least}.")


def _option(name: str) -> str:
    return name.replace("_", "-")
