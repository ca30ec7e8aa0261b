"""What is known of each prompt before any graph is read: group, cluster, half, roles of its positions.

Clusters fall into a discovery and a test half by a hash of what their prompts share, so that a cluster stays
in its half whatever else is swept later, and no prompt that a circuit is tested on had a part in finding it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from pipeline.aggregates import Groups
from pipeline.aggregates.stats import Clusters, read_clusters
from pipeline.circuits.roles import PromptTokens, roles_of
from pipeline.circuits.settings import Settings
from pipeline.errors import ConfigurationError
from pipeline.store import Snapshot

SAMPLED = 1000
"""Most clusters of a group whose graphs are compared with one another, the first by their hash."""


@dataclass(frozen=True)
class Labels:
    """The prompts of a sweep that have a group."""

    rows: pa.Table
    """A row a prompt: `prompt_key`, `grp` (number of its cluster's group), `cluster`, `alone` (the cluster
    has no other prompt), `weight` (1 over the prompts of the cluster), `discovery`, `sampled`, `roles`."""

    clusters: Clusters
    """All clusters, of both halves."""

    discovery: Bool[np.ndarray, " C"]
    """True for the clusters of the discovery half."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, by their numbers."""
        return self.clusters.groups

    @property
    def counts(self) -> Int[np.ndarray, " G"]:
        """Clusters of each group in the discovery half."""
        return np.bincount(self.clusters.group[self.discovery], minlength=len(self.groups))


def in_discovery(cluster_hash: pa.ChunkedArray | pa.Array) -> Bool[np.ndarray, " n"]:
    """Return which hashes fall into the discovery half: an even first digit."""
    first = pc.utf8_slice_codeunits(cluster_hash, 0, 1)
    return np.isin(first.to_numpy(zero_copy_only=False).astype(str), list("02468ace"))


def label(groups: Groups, roles: pa.Table | None = None, everything: bool = False) -> Labels:
    """Join what is known of the prompts.

    Args:
        groups: the prompts with groups and clusters.
        roles: `prompt_key` and `roles` of each prompt; None where they are not needed.
        everything: put all clusters into the discovery half, where nothing is to be tested.

    """
    rows = groups.rows
    clusters, cluster = read_clusters(rows)
    discovery = np.ones(rows.num_rows, bool) if everything else in_discovery(rows["cluster_hash"])
    of_cluster = np.zeros(len(clusters.group), bool)
    of_cluster[cluster] = discovery
    size = clusters.size[cluster]
    columns: dict[str, Any] = {
        "prompt_key": rows["prompt_key"],
        "grp": clusters.group[cluster].astype(np.int32),
        "cluster": cluster.astype(np.int64),
        "alone": size == 1,
        "weight": 1 / size,
        "discovery": discovery,
        "sampled": _sampled(rows["cluster_hash"], clusters, cluster, of_cluster)[cluster],
    }
    if roles is not None:
        place = pc.index_in(rows["prompt_key"], value_set=roles["prompt_key"].combine_chunks())
        columns["roles"] = roles["roles"].take(place)
    return Labels(pa.table(columns).combine_chunks(), clusters, of_cluster)


def _sampled(
    hashes: pa.ChunkedArray, clusters: Clusters, cluster: np.ndarray, discovery: np.ndarray
) -> Bool[np.ndarray, " C"]:
    """Return the clusters whose graphs are compared: of each group the first of the discovery half."""
    _, first = np.unique(cluster, return_index=True)
    order = np.argsort(hashes.take(pa.array(first)).to_numpy(zero_copy_only=False).astype(str), kind="stable")
    chosen = np.zeros(len(clusters.group), bool)
    for group in range(len(clusters.groups)):
        mine = order[(clusters.group[order] == group) & discovery[order]]
        chosen[mine[:SAMPLED]] = True
    return chosen


def check_columns(snapshot: Snapshot, settings: Settings) -> None:
    """Refuse columns that the sweep does not have.

    Raises:
        ConfigurationError: naming the option, the column and those that there are.

    """
    names = snapshot.schemas["graphs"].names
    for option, column in (("--subject", settings.subject), ("--paraphrases", settings.paraphrases)):
        if column is not None and column not in names:
            raise ConfigurationError(
                f"{option} {column!r} is no column of `graphs`; those are {', '.join(reversed(names))}. "
                "`prompts.columns` of the sweep file keeps columns of the prompts' file."
            )


def read_roles(graphs: pa.Table, subject: str | None) -> pa.Table:
    """Return the roles of the positions of each prompt.

    Args:
        graphs: rows of `graphs`.
        subject: column that names the words of the subject.

    """
    columns = [graphs[name].to_pylist() for name in ("tokens", "token_ids", "opening")]
    subjects = [None] * graphs.num_rows if subject is None else graphs[subject].to_pylist()
    roles = [
        roles_of(PromptTokens(tokens, ids, opening is not None, None if words is None else str(words)))
        for tokens, ids, opening, words in zip(*columns, subjects, strict=True)
    ]
    return pa.table({"prompt_key": graphs["prompt_key"], "roles": pa.array(roles, pa.list_(pa.int8()))})


def role_columns(subject: str | None) -> list[str]:
    """Return the columns of `graphs` that roles are told from."""
    return ["prompt_key", "tokens", "token_ids", "opening", *([subject] if subject else [])]
