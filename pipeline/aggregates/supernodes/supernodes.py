"""Supernodes: features that act together, found by their profiles, with stability and known classes beside.

Profiles are compared pair by pair, so it is for some thousands of features at a time: those that most graphs
keep. To see what the clusters are worth, they are compared with known classes: features that by themselves
belong to a group of prompts, since at least 80% of the prompts they are active on are of one value of a
column. The same comparison with the classes shuffled says what chance gives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from pipeline.aggregates.aggregate import Aggregate, Computed
from pipeline.aggregates.groups import read_groups
from pipeline.aggregates.supernodes.clustering import (
    adjusted_rand,
    average_linkage,
    contingency,
    majority,
    overlap,
    purity,
)
from pipeline.aggregates.supernodes.profiles import Profiles, read_profiles
from pipeline.errors import ConfigurationError
from pipeline.store import AggregateResult, Agreement, Snapshot, SupernodesInfo, open_database

if TYPE_CHECKING:
    from pipeline.aggregates.tasks import Tasks

SHUFFLES = 20
"""Shuffles of the classes that say what chance gives."""

CLASSES = """
    with counts as (
        select item, prompt_group, count(distinct prompt_key) as prompts
        from activations left join labels using (prompt_key) join chosen using (layer, feature) group by all
    ), ranked as (
        select item, arg_max(prompt_group, prompts) filter (where prompt_group is not null) as prompt_group,
            max(prompts) filter (where prompt_group is not null) as most, sum(prompts) as all_prompts
        from counts group by all
    )
    select item, prompt_group from ranked where most >= $share * all_prompts and most >= $least order by item
"""


@dataclass(frozen=True)
class Supernodes(Aggregate):
    """Settings of the search for supernodes."""

    min_prompts: int = 3
    """Prompts whose graph must hold a feature."""

    min_similarity: float = 0.3
    """Least mean similarity of two supernodes that become one; lower gives fewer, less stable ones."""

    features: int = 3000
    """Maximum number of features, those that most graphs keep."""

    prompts: int = 5000
    """Maximum number of prompts."""

    resamples: int = 20
    """Resamples of the prompts that stability is measured on."""

    class_share: float = 0.8
    """Share of a feature's prompts that must be of one class for the feature to be of it."""

    @property
    def name(self) -> str:
        """Beginning of the result's name: `supernodes`."""
        return "supernodes"

    def compute(self, snapshot: Snapshot, result: AggregateResult, tasks: Tasks) -> Computed:
        """Read the profiles, cluster them, and say what the clusters are worth; all on this machine.

        Raises:
            ConfigurationError: no feature is kept often enough.

        """
        # Prompts without a class count for the profiles; they are missing in `groups` alone.
        prompts = read_groups(snapshot, replace(self.grouping, by=None)).rows
        groups = read_groups(snapshot, self.grouping).rows
        with open_database() as connection:
            snapshot.bind(connection)
            connection.register("prompts", prompts)
            connection.register("labels", groups)
            profiles = read_profiles(connection, self.min_prompts, self.features, self.prompts)
            if not len(profiles.features):
                raise ConfigurationError(
                    f"no feature is kept in {self.min_prompts} graphs of {result.url}: trace more prompts."
                )
            known = _known(connection, self, len(profiles.features)) if self.grouping.by else None
        similarity = profiles.similarity()
        clusters = average_linkage(similarity, self.min_similarity)
        rows = _rows(profiles, clusters, similarity, stability(profiles, clusters, self), known)
        info = SupernodesInfo(
            features=len(clusters), prompts=profiles.prompts, agreement=agreement(clusters, known)
        )
        return {"supernodes": [result.write("supernodes", rows, 0)]}, info


def stability(
    profiles: Profiles, clusters: Int[np.ndarray, " items"], settings: Supernodes, seed: int = 0
) -> Float[np.ndarray, " clusters"]:
    """Return each cluster's mean best overlap with those found on resampled prompts."""
    random = np.random.default_rng(seed)
    found = np.zeros((settings.resamples, clusters.max() + 1))
    for number in range(settings.resamples):
        # A bootstrap: as many prompts as there are, drawn with replacement.
        weight = random.multinomial(profiles.prompts, np.full(profiles.prompts, 1 / profiles.prompts))
        resampled = average_linkage(profiles.similarity(weight.astype(float)), settings.min_similarity)
        found[number] = overlap(clusters, resampled)
    return found.mean(axis=0)


def agreement(clusters: Int[np.ndarray, " items"], known: list[str | None] | None) -> Agreement | None:
    """Say how well clusters agree with the known classes of the features that have one."""
    if known is None or not (
        labelled := [i for i, prompt_group in enumerate(known) if prompt_group is not None]
    ):
        return None
    names, classes = np.unique([known[i] for i in labelled], return_inverse=True)
    _, found = np.unique(clusters[labelled], return_inverse=True)
    together = np.bincount(clusters)[clusters[labelled]] > 1
    random = np.random.default_rng(0)
    chance = [majority(found[together], random.permutation(classes[together])) for _ in range(SHUFFLES)]
    by_class = purity(found, classes)
    return Agreement(
        features=len(labelled),
        classes=len(names),
        adjusted_rand=adjusted_rand(found, classes),
        not_alone=float(together.mean()),
        purity=majority(found[together], classes[together]),
        purity_by_chance=float(np.mean(chance)),
        supernodes_a_class=float((contingency(found, classes) > 0).sum(axis=0).mean()),
        purity_by_class=dict(zip(names.tolist(), by_class.tolist(), strict=True)),
        features_by_class=dict(zip(names.tolist(), np.bincount(classes).tolist(), strict=True)),
    )


def _known(connection: duckdb.DuckDBPyConnection, settings: Supernodes, items: int) -> list[str | None]:
    values = {"share": settings.class_share, "least": settings.min_prompts}
    found = dict(connection.execute(CLASSES, values).fetchall())
    return [found.get(item) for item in range(items)]


def _rows(
    profiles: Profiles,
    clusters: Int[np.ndarray, " items"],
    similarity: Float[np.ndarray, "items items"],
    stable: Float[np.ndarray, " clusters"],
    known: list[str | None] | None,
) -> pa.Table:
    members = np.bincount(clusters)[clusters]
    same = clusters[:, None] == clusters[None, :]
    others = ((similarity * same).sum(axis=1) - np.diag(similarity)) / np.maximum(members - 1, 1)
    columns = {
        "supernode": clusters,
        "layer": profiles.features[:, 0],
        "feature": profiles.features[:, 1],
        "members": members,
        "similarity": pa.array(others, mask=members == 1),
        "stability": stable[clusters],
        "prompt_group": pa.array(known or [None] * len(clusters), pa.string()),
    }
    return pa.table(columns).sort_by([("supernode", "ascending"), ("similarity", "descending")])
