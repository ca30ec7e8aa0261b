"""Statistics of every feature and edge over groups of prompts, and what is tied to a group.

1. A task for each part sums its rows by key and cuts the sums into partitions of the keys.
2. A task for each partition merges all parts' sums, writes its statistics, and tests its items: the unit of a
   test is a cluster of prompts.
3. All p-values are adjusted together (8 bytes a test are all that the driver holds), and a task for each
   partition writes its discoveries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from scipy.stats import false_discovery_control

from pipeline.aggregates.aggregate import MAX_PARTITIONS, Aggregate, Computed, Files
from pipeline.aggregates.groups import Groups, read_groups
from pipeline.aggregates.stats.clusters import Clusters, labelled, read_clusters, relabelled
from pipeline.aggregates.stats.group_enrichment import enrichment, with_tokens
from pipeline.aggregates.stats.merging import merge_by_cluster, merge_edges, merge_features, merge_tokens
from pipeline.aggregates.stats.strata import Occurrences
from pipeline.aggregates.stats.sums import QUERIES, Sums, sum_part
from pipeline.store import AggregateResult, Candidate, DataFile, Snapshot, StatisticsInfo, table_parts

if TYPE_CHECKING:
    from pipeline.aggregates.tasks import Tasks

NAME_LENGTH = 60
"""Characters of an expression that a result's name may hold; its hash tells it from others."""

FIRST_POSITION = {"feature": 1, "edge": 0}
"""First position that can hold a feature, and the source of an edge."""

NEAREST = 5
"""Candidates that are named where nothing is a discovery."""


@dataclass(frozen=True)
class GroupStatistics(Aggregate):
    """Groups to compare, and what counts as tied to one of them."""

    fdr: float = 0.05
    """False discovery rate of what counts as tied to a group."""

    min_support: int = 5
    """Clusters of prompts that must have a feature or an edge for it to be tested."""

    within_token: bool = False
    """True to compare clusters with those only that have the same token: the one that an item is on."""

    shuffle: int | None = None
    """Seed of a shuffle of the groups over the clusters, a check; None leaves them."""

    @property
    def name(self) -> str:
        """Column or expression, as far as a folder's name may hold it."""
        by = re.sub(r"[^\w-]+", "_", self.grouping.by or "all")[:NAME_LENGTH]
        return by if self.shuffle is None else f"{by}-shuffled"

    def compute(self, snapshot: Snapshot, result: AggregateResult, tasks: Tasks) -> Computed:
        """Sum, merge, test and write."""
        groups = read_groups(snapshot, self.grouping)
        clusters, cluster = read_clusters(groups.rows)
        rows = labelled(groups.rows, clusters, cluster, apart=self.within_token)
        if self.shuffle is not None:
            clusters = clusters.shuffled(self.shuffle)
            rows = relabelled(rows, clusters, cluster)
        todo = [part for table in QUERIES for part in table_parts(snapshot, table, self.part_bytes)]
        # As many partitions as a table has parts: merging one then takes about the memory of summing one.
        partitions = max(1, min(len(todo) // len(QUERIES), MAX_PARTITIONS))
        sizes = Groups(rows, groups.left_out).sizes
        labels, shared = tasks.share(rows), tasks.share(clusters)
        sums = {
            table: [
                tasks.call_for(partitions, sum_part, p, labels, partitions, self.within_token)
                for p in todo
                if p.table == table
            ]
            for table in QUERIES
        }
        occurrences = dict.fromkeys(FIRST_POSITION)
        if self.within_token:
            occurrences = {
                kind: tasks.share(Occurrences.of(groups.rows, cluster, first))
                for kind, first in FIRST_POSITION.items()
            }
        files: Files = {}
        tests: dict[str, int] = {}
        nearest: dict[str, tuple[Candidate, ...]] = {}
        sources = {"feature": [*sums["activations"], *sums["nodes"]], "edge": sums["edges"]}
        for kind, by_part in sources.items():
            settings = (kind, result, sizes, shared, occurrences[kind], self.min_support)
            merged = [
                tasks.call_for(3, _merge, *settings, n, *(part[n] for part in by_part))
                for n in range(partitions if by_part else 0)
            ]
            files[f"{kind}_stats"] = tasks.get([file for file, _, _ in merged])
            cuts = _q_values(tasks.get([p_values for _, p_values, _ in merged]))
            tests[kind] = sum(map(len, cuts))
            tested = [(rows, cut) for (_, _, rows), cut in zip(merged, cuts, strict=True)]
            files[f"{kind}_enrichment"] = tasks.get(
                [tasks.call(_discover, kind, result, self.fdr, n, *each) for n, each in enumerate(tested)]
            )
            if not any((cut <= self.fdr).any() for cut in cuts):
                near = chain(*tasks.get([tasks.call(_nearest, *each) for each in tested]))
                nearest[kind] = tuple(
                    sorted(near, key=lambda row: (row["q_value"], row["p_value"]))[:NEAREST]
                )
        info = StatisticsInfo(
            groups=groups.sizes,
            clusters=clusters.sizes,
            mixed_clusters=clusters.mixed,
            left_out=groups.left_out,
            tests=tests,
            nearest=nearest,
        )
        return files, info


def _q_values(p_values: list[np.ndarray]) -> list[np.ndarray]:
    """Return the q-values of all partitions' tests together, cut into partitions again."""
    q_values = false_discovery_control(np.concatenate([np.empty(0), *p_values]))
    return np.split(q_values, np.cumsum([len(p) for p in p_values])[:-1]) if p_values else []


def _merge(
    kind: str,
    result: AggregateResult,
    sizes: dict[str, int],
    clusters: Clusters,
    occurrences: Occurrences | None,
    min_support: int,
    number: int,
    *sums: Sums,
) -> tuple[DataFile, np.ndarray, pa.Table]:
    """Merge a partition and write its statistics; return the file, the p-values and the tests."""
    stats = merge_features(sums) if kind == "feature" else merge_edges(sums, sizes)
    tests = enrichment(merge_by_cluster(kind, sums), clusters, min_support, occurrences)
    tests = with_tokens(tests, merge_tokens(sums))
    return result.write(f"{kind}_stats", stats, number), tests["p_value"].to_numpy(), tests


def _nearest(tests: pa.Table, q_values: np.ndarray) -> list[Candidate]:
    """Return the tests of a partition that come nearest to a discovery."""
    best = np.lexsort((tests["p_value"].to_numpy(), q_values))[:NEAREST]
    return tests.append_column("q_value", pa.array(q_values)).take(pa.array(best)).to_pylist()


def _discover(
    kind: str, result: AggregateResult, fdr: float, number: int, tests: pa.Table, q_values: np.ndarray
) -> DataFile:
    """Write the tests of a partition that are discoveries at this rate."""
    tests = tests.append_column("q_value", pa.array(q_values))
    found = tests.filter(pa.array(q_values <= fdr)).sort_by("q_value")
    return result.write(f"{kind}_enrichment", found, number)
