"""`feature_enrichment` and `edge_enrichment`: what is tied to a group of prompts beyond chance.

A row is a discovery: of all tests of its kind, those whose adjusted p-value is at most the rate asked for.
How many tests there were stands in the result's manifest. The unit is a cluster of prompts: those with the
same traced tokens, or what `--cluster` names. A cluster has an item if it is on a larger share of the
cluster's prompts than of all prompts, or on all of them.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.aggregates.edge_stats import end_points
from schemas.prompt_groups import grouped_by, prompt_group
from schemas.table import Table, column

_FEATURE = [
    column("layer", pa.int16(), "Layer of the feature", "index"),
    column("feature", pa.int32(), "Feature index in the layer's transcoder", "index"),
]

_TEST = [
    column("clusters_with", pa.int64(), "Clusters of the group's prompts that have it", "clusters"),
    column("clusters", pa.int64(), "Clusters of the group's prompts", "clusters"),
    column("rate", pa.float64(), "Share of the group's clusters that have it", "share, 0 to 1"),
    column("rate_outside", pa.float64(), "Share of the other clusters that have it", "share, 0 to 1"),
    column(
        "log2_odds",
        pa.float64(),
        "Effect size: log2 of the odds ratio, group against the others, with 0.5 added to each count; "
        "pooled over strata by Mantel and Haenszel",
        "log2 of a ratio",
    ),
    column(
        "p_value",
        pa.float64(),
        "Two-sided; under all permutations of the labels over the clusters, within strata if there are any",
        "probability",
    ),
    column("q_value", pa.float64(), "Adjusted by Benjamini-Hochberg over all tests", "false discovery rate"),
    column(
        "top_token_id",
        pa.int32(),
        "Token that it is most often on, over all groups; an edge is on its source's token",
        "token id",
    ),
    column(
        "token_share",
        pa.float64(),
        "Share of its activations (of an edge, of its kept edges) that are on this token: 1 for a detector "
        "of one token",
        "share, 0 to 1",
    ),
]


def _enrichment(what: str, item: list[pa.Field]) -> Table:
    return Table(
        name=f"{what}_enrichment",
        row=f"a group and {'an' if what == 'edge' else 'a'} {what} that is tied to it beyond chance",
        key=("prompt_group", *(field.name for field in item)),
        schema=pa.schema([prompt_group(), *item, *_TEST, grouped_by()]),
    )


FEATURE_ENRICHMENT = _enrichment("feature", _FEATURE)

EDGE_ENRICHMENT = _enrichment("edge", end_points())
