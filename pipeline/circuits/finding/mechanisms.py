"""Mechanisms: the prompts of a group by which of its recurring edges their graphs use.

Clusters of prompts are compared by the cosine of the shares of influence that these edges carry, and merge by
average linkage while the mean is at least one half: two that share less do the same thing in two ways. A
mechanism of fewer than `min_support` clusters is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from pipeline.aggregates.stats import connect, summed
from pipeline.aggregates.supernodes import average_linkage
from pipeline.circuits.finding.sums import COLLAPSED, EDGE_COLUMNS, KEY, Part

LEAST_SIMILARITY = 0.5
"""Mean cosine below which clusters of prompts are different mechanisms."""

FLOWS = f"""
    with collapsed as ({COLLAPSED})
    select grp, cluster, edge, sum(w * share) as share, sum(w) as held
    from collapsed join chosen using ({KEY}, grp) where discovery and sampled group by all
"""


@dataclass(frozen=True)
class Mechanism:
    """Clusters of prompts of one group whose graphs are alike."""

    clusters: Int[np.ndarray, " c"]
    """Numbers of the clusters."""

    share: Float[np.ndarray, " e"]
    """Share of the influence that each edge carries, mean over the clusters."""

    support: Float[np.ndarray, " e"]
    """Share of the clusters that hold it."""

    similarity: float
    """Mean cosine of two clusters; 1 of one."""


def read_flows(part: Part, labels: pa.Table, chosen: pa.Table) -> pa.Table:
    """Return the share that chosen edges carry, by cluster, of one part.

    Args:
        part: of `edges`.
        labels: of the prompts.
        chosen: edges by their key and `grp`, with their number `edge`.

    """
    with_chosen = FLOWS.replace("join chosen", "join chosen_edges as chosen")
    return summed_with(part.read(EDGE_COLUMNS), labels, {"chosen_edges": chosen}, with_chosen)


def summed_with(rows: pa.Table, labels: pa.Table, others: dict[str, pa.Table], sql: str) -> pa.Table:
    """Run a query over `rows`, `labels` and other tables."""
    with connect() as connection:
        for name, table in {"rows": rows, "labels": labels, **others}.items():
            connection.register(name, table)
        return connection.sql(sql).to_arrow_table()


def split_group(flows: pa.Table, n_edges: int, min_support: int) -> list[Mechanism]:
    """Find a group's mechanisms, that of most clusters first.

    Args:
        flows: `cluster`, `edge`, `share`, `held`, of all parts.
        n_edges: recurring edges of the group.
        min_support: clusters that a mechanism must have.

    """
    merged = summed(
        flows,
        {"flows": "select cluster, edge, sum(share) as share, sum(held) as held from rows group by all"},
    )
    rows = merged["flows"]
    names, cluster = np.unique(rows["cluster"].to_numpy(), return_inverse=True)
    if len(names) < min_support:
        return []
    shape = (len(names), n_edges)
    edge = rows["edge"].to_numpy()
    share, held = (
        csr_matrix((rows[name].to_numpy(), (cluster, edge)), shape=shape).toarray()
        for name in ("share", "held")
    )
    unit = share / np.maximum(np.linalg.norm(share, axis=1, keepdims=True), 1e-30)
    similarity = unit @ unit.T
    number = average_linkage(similarity, LEAST_SIMILARITY)
    found = []
    for mechanism in range(number.max() + 1):
        (mine,) = np.nonzero(number == mechanism)
        if len(mine) >= min_support:
            between = similarity[np.ix_(mine, mine)][np.triu_indices(len(mine), 1)]
            found.append(
                Mechanism(names[mine], share[mine].mean(0), held[mine].mean(0), float(between.mean()))
            )
    return found
