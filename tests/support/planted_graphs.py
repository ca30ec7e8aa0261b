"""Edges of made-up graphs, as a sweep stores them, with the labels of their prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import md5

import pyarrow as pa

from pipeline.aggregates import Groups
from schemas import TABLES

LAYERS = 4
"""Layer of the target."""

POSITIONS = 3
"""Tokens of every prompt; edges are at the last."""

Edge = tuple[tuple[int, int], tuple[int, int] | None, float]
"""Source (layer, feature), target (None for what is explained), influence; negative where it lowers it."""


@dataclass(frozen=True)
class MadeGraphs:
    """Rows in memory, to be read as a part of a table."""

    rows: pa.Table

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Return the rows."""
        return self.rows if columns is None else self.rows.select(columns)


def made_edges(graphs: Sequence[Sequence[Edge]], first_key: int = 0) -> MadeGraphs:
    """Return the rows of `edges` of some prompts, with keys from `first_key` on."""
    rows = []
    for key, edges in enumerate(graphs, first_key):
        for (layer, feature), target, influence in edges:
            of_target = {
                "target_kind": "logit",
                "target_layer": LAYERS,
                "target_index": 0,
                "target_token_id": 7,
            }
            if target is not None:
                of_target = {"target_kind": "feature", "target_layer": target[0], "target_feature": target[1]}
            rows.append(
                {
                    "prompt_key": key,
                    "id": str(key),
                    "source_kind": "feature",
                    "source_layer": layer,
                    "source_position": POSITIONS - 1,
                    "source_feature": feature,
                    "target_position": POSITIONS - 1,
                    "weight": influence,
                    "influence": abs(influence),
                    "stability": 1.0,
                    **of_target,
                }
            )
    return MadeGraphs(pa.Table.from_pylist(rows, TABLES["edges"].schema))


def made_groups(groups: Sequence[str], clusters: Sequence[int] | None = None) -> Groups:
    """Return the groups of prompts with keys from 0 on; by default each is a cluster."""
    clusters = list(range(len(groups))) if clusters is None else list(clusters)
    columns = {
        "prompt_key": pa.array(range(len(groups)), pa.int64()),
        "prompt_group": pa.array(groups, pa.string()),
        "cluster": pa.array(clusters, pa.int64()),
        "cluster_hash": [md5(str(cluster).encode()).hexdigest() for cluster in clusters],
        "stratum": [""] * len(groups),
    }
    return Groups(pa.table(columns), 0)


def made_roles(count: int) -> pa.Table:
    """Return the roles of that many prompts: opening, other, last."""
    roles = pa.array([[0, 6, 1]] * count, pa.list_(pa.int8()))
    return pa.table({"prompt_key": pa.array(range(count), pa.int64()), "roles": roles})
