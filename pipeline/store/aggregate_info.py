"""Figures of an aggregate that belong to no row of its tables; its manifest holds them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Info(BaseModel):
    model_config = ConfigDict(frozen=True)

    seconds: float = 0.0
    """Wall seconds of the computation."""


Candidate = dict[str, str | int | float | None]
"""A feature or an edge that is not tied to a group but comes near to it: a row as of its enrichment table."""


class StatisticsInfo(_Info):
    """Groups that statistics are over, and the tests that were made."""

    groups: dict[str, int]
    """Prompts of each group."""

    clusters: dict[str, int]
    """Clusters of prompts of each group: the units of its tests."""

    mixed_clusters: int
    """Clusters whose prompts are in several groups; each counts in the group of most of them."""

    left_out: int
    """Prompts without a value to group them by."""

    tests: dict[str, int]
    """Number of tests by kind of item, `feature` or `edge`, before any is called a discovery."""

    nearest: dict[str, tuple[Candidate, ...]]
    """By kind of item that has no discovery, those that come nearest: nothing was shown of them."""


class PairsInfo(_Info):
    """Positions that pairs of features are counted over."""

    positions: int
    """Positions of all prompts together that can carry features, active ones or not."""


class Agreement(BaseModel):
    """Agreement of supernodes with known classes of features, and what chance gives."""

    model_config = ConfigDict(frozen=True)

    features: int
    """Features that have a class."""

    classes: int

    adjusted_rand: float
    """Adjusted Rand index of supernodes and classes: 1 for the same partition, 0 for what chance gives."""

    not_alone: float
    """Share of these features whose supernode has other members."""

    purity: float
    """Share of the features that are not alone whose supernode is mostly of their class."""

    purity_by_chance: float
    """The same with the classes shuffled, mean over shuffles."""

    supernodes_a_class: float
    """Mean number of supernodes that a class is spread over."""

    purity_by_class: dict[str, float]
    """Mean share of a class in the supernodes of its features."""

    features_by_class: dict[str, int]


class WayInfo(BaseModel):
    """A way to find supernodes, and what those that it finds are worth on prompts that it has not seen."""

    model_config = ConfigDict(frozen=True)

    profile: str
    """Parts of a feature's profile that are compared."""

    min_similarity: float
    """Least mean similarity of two supernodes that become one."""

    found_again: float
    """Adjusted Rand index of the supernodes and those that the held-out prompts give."""

    not_alone: float
    """Share of the features whose supernode has other members."""

    stable: float
    """Share of the features whose supernode has other members and is stable."""

    agreement: Agreement | None
    """None where no feature has a class."""


class SupernodesInfo(_Info):
    """Items that supernodes were sought among, and the ways that were tried."""

    features: int
    prompts: int

    held_out: int
    """Prompts among these that supernodes were not found on but held against."""

    ways: tuple[WayInfo, ...]
    """The best of each profile; the first is the one whose supernodes are in the table."""


class CircuitsInfo(_Info):
    """Prompts that circuits were looked for in, and those kept to test them on."""

    groups: dict[str, int]
    """Prompts of each group."""

    discovery_clusters: dict[str, int]
    """Clusters of each group that circuits are looked for in."""

    test_clusters: dict[str, int]
    """Its other clusters."""

    left_out: int
    """Prompts without a value to group them by."""

    tested_edges: int
    """Edges between roles that enough clusters hold to be tested, in every group."""

    recurring_edges: int
    """Those that recur in a group, counted once for each."""


class CircuitTestsInfo(_Info):
    """Circuits that were tested."""

    circuits: int
    tested_prompts: int
    """Prompts that interventions ran on."""

    failed_prompts: int
    """Prompts whose tests could not be run."""

    test_seconds: float
    """Seconds of the workers, all together."""


AggregateInfo = StatisticsInfo | PairsInfo | SupernodesInfo | CircuitsInfo | CircuitTestsInfo
"""Told apart by their fields when a manifest is read: none fits the JSON of another."""
