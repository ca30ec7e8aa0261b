"""Kind and number of the tests: everything that decides a validation's cost and its result."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.configuration import Count, Section, Share


class ValidationConfig(Section):
    """Rules by which every graph of a sweep is tested."""

    seed: int = 0
    """Seed of all that is drawn; with it and a prompt's key every draw can be made again."""

    share: Share = 1.0
    """Share of the graphs that are tested, chosen by a hash of seed and prompt."""

    ablations: Count = 32
    """Kept features of each graph that are ablated one by one, drawn evenly from strata of influence."""

    sources: Count = 8
    """Kept features of each graph whose effect on later features is tested."""

    draws: Annotated[int, Field(ge=20)] = 50
    """Matched random feature sets that each circuit is compared with. A circuit that beats them all has
    p = 1 / (draws + 1): with 20, no graph of a sweep would pass at q = 0.05 unless nearly all did."""

    top: Count = 10
    """Most influential features of the circuit that are tested for necessity by themselves."""

    pair: str | None = None
    """Column of `graphs` whose value a prompt shares with its partner: the partner's target is then the rival
    of a token, instead of the runner-up (default: `pair`, where the sweep has it)."""
