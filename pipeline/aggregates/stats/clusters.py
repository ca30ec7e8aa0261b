"""Clusters of prompts, the units that labels are dealt out over.

Prompts that repeat one another (the same tokens, one template, one subject) are no independent draws:
features come and go with the whole cluster. Under the null hypothesis of enrichment labels are dealt out over
clusters, so whole clusters are exchanged, within a stratum where there are strata. A cluster's group is that
of most of its prompts, of equals that of the first by prompt key (a hash, so by lot).
Source: Winkler, Webster, Vidaurre, Nichols, Smith, "Multi-level block permutation", NeuroImage 123, 2015.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from pipeline.errors import ConfigurationError

ALONE = -1
"""Cluster that the sums of all prompts share which are a cluster of their own: these just add up."""


# C clusters, G groups, S strata
@dataclass(frozen=True)
class Clusters:
    """Group, stratum and size of each cluster."""

    groups: tuple[str, ...]
    """Names of the groups."""

    group: Int[np.ndarray, " C"]
    """Index of each cluster's group."""

    stratum: Int[np.ndarray, " C"]
    """Number of each cluster's stratum, from 0."""

    size: Int[np.ndarray, " C"]
    """Prompts of each cluster."""

    mixed: int = 0
    """Clusters whose prompts are in several groups."""

    @property
    def n_strata(self) -> int:
        """Number of strata."""
        return int(self.stratum.max(initial=0)) + 1

    @property
    def n_clusters(self) -> Int[np.ndarray, "S G"]:
        """Clusters of each group in each stratum."""
        counts = np.zeros((self.n_strata, len(self.groups)), np.int64)
        np.add.at(counts, (self.stratum, self.group), 1)
        return counts

    @property
    def n_prompts(self) -> Int[np.ndarray, " S"]:
        """Prompts of each stratum."""
        return np.bincount(self.stratum, self.size, self.n_strata).astype(np.int64)

    @property
    def sizes(self) -> dict[str, int]:
        """Clusters of each group, by its name."""
        counts = np.bincount(self.group, minlength=len(self.groups)).tolist()
        return dict(zip(self.groups, counts, strict=True))

    def shuffled(self, seed: int) -> Clusters:
        """Permute the groups over whole clusters, within each stratum."""
        random, group_C = np.random.default_rng(seed), self.group.copy()
        for stratum in range(self.n_strata):
            (here,) = np.nonzero(self.stratum == stratum)
            group_C[here] = group_C[random.permutation(here)]
        return replace(self, group=group_C)


def read_clusters(rows: pa.Table) -> tuple[Clusters, Int[np.ndarray, " prompts"]]:
    """Return the clusters of the rows of `Groups`, and the number of each prompt's.

    Raises:
        ConfigurationError: prompts of one cluster are in several strata.

    """
    names, group = np.unique(rows["prompt_group"].to_numpy(), return_inverse=True)
    _, stratum = np.unique(rows["stratum"].to_numpy(), return_inverse=True)
    _, first, cluster, size_C = np.unique(
        rows["cluster"].to_numpy(), return_index=True, return_inverse=True, return_counts=True
    )
    stratum_C = stratum[first]
    if split := len(np.unique(cluster[stratum != stratum_C[cluster]])):
        raise ConfigurationError(
            f"--within: {split:,} of {len(first):,} clusters hold prompts of several strata, but a cluster "
            "is exchanged as a whole. Take a coarser --within, or a finer --cluster."
        )
    votes_CG = np.zeros((len(first), len(names)), np.int64)
    np.add.at(votes_CG, (cluster, group), 1)
    most_C = votes_CG.max(axis=1)
    # In the order of keys, the first prompt whose group has as many votes as any.
    (leading,) = np.nonzero(votes_CG[cluster, group] == most_C[cluster])
    _, first_leading = np.unique(cluster[leading], return_index=True)
    mixed = int((most_C < size_C).sum())
    group_C = group[leading[first_leading]]
    return Clusters(tuple(names.tolist()), group_C, stratum_C, size_C, mixed), cluster


def labelled(
    rows: pa.Table, clusters: Clusters, cluster: Int[np.ndarray, " prompts"], apart: bool = False
) -> pa.Table:
    """Return what a part needs to know of each prompt: its labels and those of its cluster.

    `apart`: prompts that are clusters of their own are not counted together.
    """
    alone = (clusters.size[cluster] == 1) & (not apart)
    columns = {
        "cluster": np.where(alone, ALONE, cluster),
        "cluster_group": clusters.group[cluster],
        "stratum": clusters.stratum[cluster],
    }
    kept = rows.select(["prompt_key", "prompt_group", "positions", "token_ids", "first"])
    for name, values in columns.items():
        kept = kept.append_column(name, pa.array(values))
    return kept


def relabelled(labels: pa.Table, clusters: Clusters, cluster: Int[np.ndarray, " prompts"]) -> pa.Table:
    """Give each prompt the group of its cluster."""
    group = clusters.group[cluster]
    names = pa.array(clusters.groups, pa.string()).take(pa.array(group))
    for name, values in (("prompt_group", names), ("cluster_group", pa.array(group))):
        labels = labels.set_column(labels.column_names.index(name), name, values)
    return labels
