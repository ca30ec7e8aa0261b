"""Supernodes held against prompts that they were not found on.

The clusters of prompts (those that repeat one another) are split in two. On one half features are compared
and clustered, and the way to do so is chosen; the other half, which nothing of this has seen, says how much
is found again. A way is a profile (where features are active, alone or with what drives them and what they
drive) and a least similarity. Chosen is the one whose supernodes are most alike when the first half is halved
itself, `SPLITS` times: the largest mean adjusted Rand index of those that leave at most 80% of the features
alone.

Found again is not enough: features that are active nearly everywhere resemble one another in any data. So a
supernode is stable if it is found again on held-out prompts, and its features are active together there
beyond what their own frequencies give, at a false discovery rate: against each feature's activity permuted
over the clusters by itself. Nothing of the held-out prompts chose the supernode, so the p-values are exact.

Clusters are whole throughout: otherwise features of one prompt that was given five times would be found
again, whatever they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import false_discovery_control

from pipeline.aggregates.supernodes.clustering import (
    adjusted_rand,
    average_linkage,
    cut,
    merges,
    overlap,
)
from pipeline.aggregates.supernodes.profiles import PROFILES, Profile, Profiles
from pipeline.errors import ConfigurationError

LEAST_SIMILARITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Least mean similarities of two supernodes that become one, to choose among."""

SPLITS = 5
"""Halvings of the prompts that a way is chosen on."""

MOST_ALONE = 0.8
"""Share of features that a way may leave alone: of a few copies of one another, any data finds all again."""

FOUND_AGAIN = 0.75
"""Mean overlap with held-out supernodes above which one is found again (Hennig, CSDA 52, 2007)."""

RATE = 0.05
"""False discovery rate of the supernodes that are called stable."""

PERMUTATIONS = 999
"""Permutations of the held-out activity."""

FEWEST_CLUSTERS = 4
"""Clusters of prompts that can be halved, and a half again."""


@dataclass(frozen=True)
class Way:
    """A way to find supernodes."""

    profile: Profile
    min_similarity: float

    def find(self, profiles: Profiles, weight: Float[np.ndarray, " prompts"]) -> Int[np.ndarray, " items"]:
        """Return each feature's supernode on prompts that count `weight` times."""
        return average_linkage(profiles.similarity(weight, self.profile), self.min_similarity)


def held_out_prompts(clusters: Int[np.ndarray, " prompts"], seed: int = 0) -> Bool[np.ndarray, " prompts"]:
    """Return which prompts are held out: half of the clusters, whole ones.

    Raises:
        ConfigurationError: there are too few clusters.

    """
    names, number = np.unique(clusters, return_inverse=True)
    if len(names) < FEWEST_CLUSTERS:
        raise ConfigurationError(
            f"supernodes are held against prompts that they were not found on, and {len(names)} clusters of "
            f"prompts are too few to split: {FEWEST_CLUSTERS} are the least. Trace more prompts, or name "
            "finer clusters with --cluster."
        )
    return _half(number, np.random.default_rng(seed))


def _half(number: Int[np.ndarray, " prompts"], random: np.random.Generator) -> Bool[np.ndarray, " prompts"]:
    return (random.permutation(number.max() + 1) % 2 == 1)[number]


def choose(profiles: Profiles, found_on: Bool[np.ndarray, " prompts"], seed: int = 0) -> list[Way]:
    """Return the best way of each profile, the best of all first; ties go to the richer profile."""
    random = np.random.default_rng(seed)
    number = np.full(profiles.prompts, -1)
    _, number[found_on] = np.unique(profiles.clusters[found_on], return_inverse=True)
    halves = [_half(number[found_on], random) for _ in range(SPLITS)]
    scores = {}
    for profile in PROFILES:
        found = np.array([_agreement(profiles, profile, found_on, half) for half in halves])
        # Of ways that leave too many alone the one that leaves fewest: the lowest.
        allowed = found[:, :, 1].mean(axis=0) <= MOST_ALONE
        allowed[0] |= not allowed.any()
        mean = np.where(allowed, found[:, :, 0].mean(axis=0), -1)
        best = int(mean.argmax())
        scores[Way(profile, LEAST_SIMILARITIES[best])] = mean[best]
    return sorted(scores, key=lambda way: -scores[way])


def _agreement(
    profiles: Profiles, profile: Profile, found_on: Bool[np.ndarray, " prompts"], half: Bool[np.ndarray, " n"]
) -> list[tuple[float, float]]:
    """Return for each least similarity the agreement of two halves, and the share of features alone."""
    weights = np.zeros((2, profiles.prompts))
    weights[:, found_on] = half, ~half
    trees = [merges(profiles.similarity(weight, profile)) for weight in weights]
    measured = []
    for least in LEAST_SIMILARITIES:
        one, other = (cut(tree, least) for tree in trees)
        measured.append((adjusted_rand(one, other), (alone(one) + alone(other)) / 2))
    return measured


def alone(clusters: Int[np.ndarray, " items"]) -> float:
    """Return the share of features that are alone."""
    return float((np.bincount(clusters)[clusters] == 1).mean())


def stability(
    profiles: Profiles,
    clusters: Int[np.ndarray, " items"],
    way: Way,
    held_out: Bool[np.ndarray, " prompts"],
    resamples: int,
    seed: int = 0,
) -> Float[np.ndarray, " clusters"]:
    """Return each supernode's mean best overlap with those found on resampled held-out prompts."""
    random = np.random.default_rng(seed)
    names, number = np.unique(profiles.clusters[held_out], return_inverse=True)
    found = np.zeros((resamples, clusters.max() + 1))
    for drawn in found:
        # A bootstrap of whole clusters: as many as there are, drawn with replacement.
        weight = np.zeros(profiles.prompts)
        weight[held_out] = random.multinomial(len(names), np.full(len(names), 1 / len(names)))[number]
        drawn[:] = overlap(clusters, way.find(profiles, weight))
    return found.mean(axis=0)


def q_values(
    profiles: Profiles,
    clusters: Int[np.ndarray, " items"],
    found_again: Float[np.ndarray, " clusters"],
    held_out: Bool[np.ndarray, " prompts"],
    seed: int = 0,
) -> Float[np.ndarray, " clusters"]:
    """Return each supernode's false discovery rate: its features are active together by chance.

    Only supernodes of several features that are found again are tested, the others of several count as tests
    that found nothing; those of one feature are not tested at all, and are 1.
    """
    random = np.random.default_rng(seed)
    activity = _activity(profiles, held_out)
    several = np.flatnonzero(np.bincount(clusters) > 1)
    p_values = np.ones(found_again.shape)
    for number in several[found_again[several] > FOUND_AGAIN]:
        members = activity[clusters == number]
        together = _together(members)
        chance = [_together(random.permuted(members, axis=1)) for _ in range(PERMUTATIONS)]
        # Sums that rounding alone tells apart are equal.
        at_least = sum(value >= together * (1 - 1e-9) for value in chance)
        p_values[number] = (1 + at_least) / (1 + PERMUTATIONS)
    if len(several):
        p_values[several] = false_discovery_control(p_values[several])
    return p_values


def is_stable(
    found_again: Float[np.ndarray, " clusters"], q_values: Float[np.ndarray, " clusters"]
) -> Bool[np.ndarray, " clusters"]:
    """Tell which supernodes are found again on held-out prompts, and active together beyond chance there."""
    return (found_again > FOUND_AGAIN) & (q_values <= RATE)


def _activity(profiles: Profiles, held_out: Bool[np.ndarray, " prompts"]) -> Float[np.ndarray, "items C"]:
    """Return each feature's mean activation on each held-out cluster, scaled to length 1."""
    names, number = np.unique(profiles.clusters, return_inverse=True)
    active = profiles.blocks["active"]
    sums = np.zeros((len(profiles.features), len(names)))
    np.add.at(sums, (active.item, number[active.prompt]), active.value)
    means = (sums / np.bincount(number))[:, np.unique(number[held_out])]
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-30)


def _together(members: Float[np.ndarray, "M C"]) -> float:
    """Return the squared length of the sum: their cosines summed over all pairs, and their number."""
    return float(np.square(members.sum(axis=0)).sum())
