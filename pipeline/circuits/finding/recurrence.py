"""Edges that recur in a group of prompts: beyond the other groups, and beyond rewired graphs.

Two chances of an edge that k of a group's n clusters hold, both of which must be small:

- other: groups are dealt out over clusters (Fisher's exact test; the whole permutation test).
- rewired: each graph keeps its number of edges, but these fall between layers, and there on nodes, as the
  edges of all graphs do: by depth, and by the number of edges that a node has at that depth. A graph with m
  edges then holds the edge a -> b with chance 1 - (1 - w w_a w_b)^m, w the share of all edges between the two
  layers, w_a and w_b the nodes' shares of these. It is concave in m, so that of a group's mean m is no less
  than the mean, and k is at most binomial with it (Hoeffding 1956: a sum of unlike chances is no more
  spread). Nodes that are in every graph meet in every graph, and that is no circuit. This is the chance of
  one prompt, and k counts clusters that hold the edge on more than half of their prompts: of prompts with a
  chance p of at most one half that is no likelier than p, whether they are independent or repeat one another.
  Half of them would not do: one of a cluster of two has it with nearly 2 p.

The larger of the two is adjusted over all edges and groups (Benjamini-Hochberg). An edge is tested if
`min_support` clusters of all groups together hold it, which leaves the null of the first chance as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from scipy.stats import binom, false_discovery_control, hypergeom

from pipeline.aggregates.stats import ALONE, Sums, connect, summed
from pipeline.circuits.finding.sums import KEY

MERGED = f"""
    with held as (
        select {KEY}, grp, sum(prompts) filter (where counted = {ALONE}) as alone, 0 as shared
        from by_cluster group by all
        union all
        select {KEY}, of_cluster.grp, 0, count(*) from (
            select {KEY}, counted, sum(prompts) as prompts from by_cluster
            where counted <> {ALONE} group by all
        ) join of_cluster on counted = cluster
        where 2 * prompts > size group by all
    ), counts as (
        select {KEY}, grp, sum(coalesce(alone, 0) + shared)::bigint as clusters from held group by all
    ), sums as (
        select {KEY}, grp, sum(support) as support, sum(share) as share, sum(coalesce(raised, 0)) as raised,
            sum(stability) as stability
        from edges group by all
    ), tested as (
        select {KEY} from counts join sums using ({KEY}, grp) group by all
        having sum(clusters) >= $min_support
    )
    select * from tested join sums using ({KEY}) join counts using ({KEY}, grp)
    order by {KEY}, grp
"""
"""A cluster holds an edge if most of its prompts do, which does not know the groups."""

TOTALS = {
    "layers": "select grp, source_layer, target_layer, sum(edges) as edges from rows group by all",
    "degrees": "select * exclude (edges), sum(edges) as edges from rows group by all",
}

CONSISTENT = 0.8
"""Share of an edge's clusters that must agree in its sign."""


@dataclass(frozen=True)
class Recurring:
    """Edges that were tested. E edges, G groups."""

    key: Int[np.ndarray, "E 6"]
    """Source and target: layer, feature, role."""

    clusters: Int[np.ndarray, "E G"]
    """Clusters of each group that hold it."""

    group_clusters: Int[np.ndarray, " G"]
    share: Float[np.ndarray, "E G"]
    """Share of the target's influence, mean over the group's clusters."""

    raised: Float[np.ndarray, "E G"]
    """Share of the clusters with it in which it raises its target."""

    stability: Float[np.ndarray, "E G"]
    rewired: Float[np.ndarray, "E G"]
    """Share of clusters expected to hold it in rewired graphs."""

    @cached_property
    def p_other(self) -> Float[np.ndarray, "E G"]:
        """Chance of as many clusters if groups were dealt out over them."""
        total, with_E = int(self.group_clusters.sum()), self.clusters.sum(1, keepdims=True)
        return hypergeom.sf(self.clusters - 1, total, with_E, self.group_clusters[None])

    @cached_property
    def p_rewired(self) -> Float[np.ndarray, "E G"]:
        """Chance of as many in rewired graphs."""
        return binom.sf(self.clusters - 1, self.group_clusters[None], self.rewired)

    @cached_property
    def q_value(self) -> Float[np.ndarray, "E G"]:
        """False discovery rate at which an edge counts as recurring in a group."""
        p = np.maximum(self.p_other, self.p_rewired)
        return false_discovery_control(p.ravel()).reshape(p.shape) if p.size else p

    @property
    def sign(self) -> Int[np.ndarray, "E G"]:
        """1 where it raises its target in most clusters, else -1."""
        return np.where(self.raised >= 0.5, 1, -1)

    @property
    def consistency(self) -> Float[np.ndarray, "E G"]:
        """Share of its clusters with this sign."""
        return np.maximum(self.raised, 1 - self.raised)

    def found(self, fdr: float) -> np.ndarray:
        """Return which edges recur in which groups, with one sign."""
        return (self.q_value <= fdr) & (self.consistency >= CONSISTENT) & (self.clusters > 0)

    def keys(self) -> list[tuple[int, ...]]:
        """Return the edges as tuples."""
        return list(map(tuple, self.key.tolist()))


def merge(cluster_sizes: pa.Table, min_support: int, *sums: Sums) -> pa.Table:
    """Merge the sums of one partition into the rows of the edges that are to be tested, by group."""
    tables = {name: pa.concat_tables([part[name] for part in sums]) for name in ("edges", "by_cluster")}
    with connect() as connection:
        for name, rows in (tables | {"of_cluster": cluster_sizes}).items():
            connection.register(name, rows)
        return connection.sql(MERGED, params={"min_support": min_support}).to_arrow_table()


def totals(sums: list[Sums]) -> Sums:
    """Add up the sums that are of no single edge."""
    return {
        name: summed(pa.concat_tables([part[name] for part in sums]), {name: sql})[name]
        for name, sql in TOTALS.items()
    }


def recurring(tested: pa.Table, of_all: Sums, group_clusters: Int[np.ndarray, " G"]) -> Recurring:
    """Lay out the edges that are to be tested, with what rewired graphs give."""
    names = [name.strip() for name in KEY.split(",")]
    rows = np.stack([tested[name].to_numpy().astype(np.int64) for name in names], axis=1).reshape(-1, 6)
    key, edge = np.unique(rows, axis=0, return_inverse=True)
    group, n_groups = tested["grp"].to_numpy(), len(group_clusters)

    def laid_out(name: str, kind: type = float) -> np.ndarray:
        values = np.zeros((len(key), n_groups), kind)
        values[edge.reshape(-1), group] = tested[name].to_numpy()
        return values

    support = laid_out("support")
    present = np.maximum(support, 1e-30)
    return Recurring(
        key,
        laid_out("clusters", np.int64),
        group_clusters,
        laid_out("share") / np.maximum(group_clusters, 1),
        laid_out("raised") / present,
        laid_out("stability") / present,
        _rewired(key, of_all, group_clusters),
    )


def _rewired(key: np.ndarray, of_all: Sums, group_clusters: np.ndarray) -> Float[np.ndarray, "E G"]:
    """Return the chance of each edge in a rewired graph of each group."""
    layers, degrees = of_all["layers"].to_pylist(), of_all["degrees"].to_pylist()
    ends = {
        (row["of_end"], row["source_layer"], row["target_layer"], row["feature"], row["role"]): row["edges"]
        for row in degrees
    }
    between: dict[tuple[int, int], float] = {}
    of_group = np.zeros(len(group_clusters))
    for row in layers:
        depth = row["source_layer"], row["target_layer"]
        between[depth] = between.get(depth, 0.0) + row["edges"]
        of_group[row["grp"]] += row["edges"]
    per_graph, total = of_group / np.maximum(group_clusters, 1), of_group.sum()
    chances = np.zeros((len(key), len(group_clusters)))
    for index, (layer, feature, role, to_layer, to_feature, to_role) in enumerate(key.tolist()):
        source = ends["source", layer, to_layer, feature, role]
        target = ends["target", layer, to_layer, to_feature, to_role]
        # The share of all edges at this depth, times those of the two nodes among them.
        of_edge = source * target / (between[layer, to_layer] * total)
        chances[index] = 1 - (1 - of_edge) ** per_graph
    return chances
