"""Supernodes: features that act together, found by their profiles, with stability and known classes beside.

Profiles are compared pair by pair, so it is for some thousands of features at a time: those that most graphs
keep. They are found on half of the clusters of prompts and held against the other half (`held_out`): there
stability is measured, and there known classes are read, features that by themselves belong to a group of
prompts, since at least 80% of the held-out prompts they are active on are of one value of a column. The same
comparison with the classes shuffled says what chance gives. Beside the profile that was chosen stands the
best of the other: activity alone is what costs no graph.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from pipeline.aggregates.aggregate import Aggregate, Computed
from pipeline.aggregates.groups import read_groups
from pipeline.aggregates.supernodes.clustering import adjusted_rand, contingency, majority, purity
from pipeline.aggregates.supernodes.held_out import (
    Way,
    alone,
    choose,
    held_out_prompts,
    is_stable,
    q_values,
    stability,
)
from pipeline.aggregates.supernodes.profiles import Profiles, read_profiles, sampled_prompts
from pipeline.errors import ConfigurationError
from pipeline.store import (
    AggregateResult,
    Agreement,
    Snapshot,
    SupernodesInfo,
    WayInfo,
    open_database,
)

if TYPE_CHECKING:
    from pipeline.aggregates.tasks import Tasks

SHUFFLES = 20
"""Shuffles of the classes that say what chance gives."""

CLASSES = """
    with counts as (
        select item, prompt_group, count(distinct prompt_key) as prompts
        from activations join halves using (prompt_key) left join labels using (prompt_key)
            join chosen using (layer, feature)
        where held_out group by all
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

    features: int = 3000
    """Maximum number of features, those that most graphs keep."""

    prompts: int = 5000
    """Maximum number of prompts."""

    resamples: int = 20
    """Resamples of the held-out prompts that stability is measured on."""

    class_share: float = 0.8
    """Share of a feature's held-out prompts that must be of one class for the feature to be of it."""

    @property
    def name(self) -> str:
        """Beginning of the result's name: `supernodes`."""
        return "supernodes"

    def compute(self, snapshot: Snapshot, result: AggregateResult, tasks: Tasks) -> Computed:
        """Read the profiles, cluster them, and say what the clusters are worth; all on this machine.

        Raises:
            ConfigurationError: no feature is kept often enough, or the prompts are in too few clusters.

        """
        # Prompts without a class count for the profiles; they are missing in `groups` alone.
        prompts = read_groups(snapshot, replace(self.grouping, by=None)).rows
        groups = read_groups(snapshot, self.grouping).rows
        with open_database() as connection:
            snapshot.bind(connection)
            connection.register("prompts", prompts)
            connection.register("labels", groups)
            sampled = sampled_prompts(connection, self.prompts)
            unseen = held_out_prompts(sampled["cluster"].to_numpy())
            connection.register("halves", sampled.append_column("held_out", pa.array(unseen)))
            profiles = read_profiles(connection, self.min_prompts, self.features)
            if not len(profiles.features):
                raise ConfigurationError(
                    f"no feature is kept in {self.min_prompts} graphs of {result.url}, some of either half: "
                    "trace more prompts."
                )
            known = _known(connection, self, len(profiles.features)) if self.grouping.by else None
        ways = choose(profiles, ~unseen)
        judged = [_Judged.of(profiles, way, unseen, self.resamples, known) for way in ways]
        info = SupernodesInfo(
            features=len(profiles.features),
            prompts=profiles.prompts,
            held_out=int(unseen.sum()),
            ways=tuple(each.info for each in judged),
        )
        return {"supernodes": [result.write("supernodes", _rows(profiles, judged[0], known), 0)]}, info


@dataclass(frozen=True)
class _Judged:
    """Supernodes that were found in one way, and what they are worth."""

    clusters: Int[np.ndarray, " items"]

    similarity: Float[np.ndarray, "items items"]
    """Of the features, on the prompts that the supernodes were found on."""

    stability: Float[np.ndarray, " clusters"]

    q_values: Float[np.ndarray, " clusters"]

    info: WayInfo

    @classmethod
    def of(
        cls,
        profiles: Profiles,
        way: Way,
        unseen: Bool[np.ndarray, " prompts"],
        resamples: int,
        known: list[str | None] | None,
    ) -> _Judged:
        seen = (~unseen).astype(float)
        clusters = way.find(profiles, seen)
        found_again = stability(profiles, clusters, way, unseen, resamples)
        q = q_values(profiles, clusters, found_again, unseen)
        info = WayInfo(
            profile=way.profile,
            min_similarity=way.min_similarity,
            found_again=adjusted_rand(clusters, way.find(profiles, unseen.astype(float))),
            not_alone=1 - alone(clusters),
            stable=float(is_stable(found_again, q)[clusters].mean()),
            agreement=agreement(clusters, known),
        )
        return cls(clusters, profiles.similarity(seen, way.profile), found_again, q, info)


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


def _rows(profiles: Profiles, found: _Judged, known: list[str | None] | None) -> pa.Table:
    clusters, similarity = found.clusters, found.similarity
    members = np.bincount(clusters)[clusters]
    same = clusters[:, None] == clusters[None, :]
    others = ((similarity * same).sum(axis=1) - np.diag(similarity)) / np.maximum(members - 1, 1)
    columns = {
        "supernode": clusters,
        "layer": profiles.features[:, 0],
        "feature": profiles.features[:, 1],
        "members": members,
        "similarity": pa.array(others, mask=members == 1),
        "stability": found.stability[clusters],
        "q_value": pa.array(found.q_values[clusters], mask=members == 1),
        "is_stable": is_stable(found.stability, found.q_values)[clusters],
        "prompt_group": pa.array(known or [None] * len(clusters), pa.string()),
    }
    return pa.table(columns).sort_by([("supernode", "ascending"), ("similarity", "descending")])
