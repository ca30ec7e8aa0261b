"""Supernodes that are called stable, on features in which every group must be chance but for planted ones.

Prompts are texts under four targets each: the same activations four times. Noise features are on texts by
chance, and driven by chance; the features of a planted group follow a state of the text, and share what
drives them. Held out are whole texts; the competitor holds out single prompts, and so meets texts again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from pipeline.aggregates.supernodes import (
    Block,
    Profiles,
    choose,
    held_out_prompts,
    is_stable,
    q_values,
    stability,
)

TEXTS, TARGETS = 60, 4
NOISE, GROUPS, SIZE = 40, 3, 6
SOURCES = 50
RESAMPLES = 5


@dataclass(frozen=True)
class Found:
    """Supernodes of several features that one draw calls stable."""

    false: int
    """Those that hold noise features alone."""

    true: int
    """Those that hold most of a planted group and nothing else."""


def draw_profiles(seed: int, planted: bool) -> Profiles:
    """Draw the profiles of noise features and, if asked, of planted groups."""
    random = np.random.default_rng(seed)
    items = NOISE + GROUPS * SIZE * planted
    on = random.random((items, TEXTS)) < random.beta(1, 4, size=(items, 1))
    sources = random.integers(SOURCES, size=(items, 2, 3))
    if planted:
        state = random.integers(GROUPS, size=TEXTS)
        for group in range(GROUPS):
            members = slice(NOISE + group * SIZE, NOISE + (group + 1) * SIZE)
            follows = random.random((SIZE, TEXTS)) < 0.95
            on[members] = np.where(state == group, follows, ~follows)
            sources[members] = sources[NOISE + group * SIZE]
    on[np.arange(items), random.integers(TEXTS, size=items)] = True
    size = on * (1 + random.random((items, TEXTS)))
    prompts = np.repeat(np.arange(TEXTS), TARGETS)
    item, prompt = np.nonzero(on[:, prompts])
    value = size[:, prompts][item, prompt]
    blocks = {"active": Block(item, prompt, prompt, value, len(prompts), True)}
    for number, name in enumerate(("driven", "drives")):
        column = sources[item, number, random.integers(3, size=len(item))]
        blocks[name] = Block(item, prompt, column, np.ones(len(item)), SOURCES, False)
    features = np.stack([np.zeros(items, np.int64), np.arange(items)], axis=1)
    return Profiles(features, prompts, blocks)


def find(profiles: Profiles, clusters: Int[np.ndarray, " prompts"]) -> Found:
    """Find supernodes as the product does, and count those that are called stable.

    Args:
        profiles: what was drawn.
        clusters: units that are held out as a whole.

    """
    profiles = Profiles(profiles.features, clusters, profiles.blocks)
    unseen = held_out_prompts(clusters)
    way = choose(profiles, ~unseen)[0]
    number = way.find(profiles, (~unseen).astype(float))
    found_again = stability(profiles, number, way, unseen, RESAMPLES)
    stable = is_stable(found_again, q_values(profiles, number, found_again, unseen))
    several = np.flatnonzero(stable & (np.bincount(number) > 1))
    members = [np.flatnonzero(number == each) for each in several]
    wanted = [set(range(NOISE + g * SIZE, NOISE + (g + 1) * SIZE)) for g in range(GROUPS)]
    return Found(
        false=sum(bool((each < NOISE).all()) for each in members),
        true=sum(
            any(set(each.tolist()) <= group for group in wanted) for each in members if len(each) > SIZE / 2
        ),
    )


def rows(draws: int) -> list[tuple[str, ...]]:
    """Measure noise alone and planted groups, by text and by single prompt: rows of the report."""
    measured = []
    for units in ("texts", "prompts"):
        false, shares, true = [], [], []
        for seed in range(draws):
            for planted in (False, True):
                profiles = draw_profiles(seed, planted)
                clusters = profiles.clusters if units == "texts" else np.arange(len(profiles.clusters))
                found = find(profiles, clusters)
                if planted:
                    true.append(found.true / GROUPS)
                    shares.append(found.false / max(found.false + found.true, 1))
                else:
                    false.append(found.false)
        any_false = np.mean(np.array(false) > 0)
        numbers = (
            f"{np.mean(false):,.2f}",
            f"{any_false:.3f}",
            f"{np.mean(shares):.3f}",
            f"{np.mean(true):.3f}",
        )
        measured.append(("supernodes: text, 4 targets", units, *numbers))
    return measured
