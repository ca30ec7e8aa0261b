"""The features that are most often active where a feature is: its neighbours by coactivation."""

from __future__ import annotations

import pyarrow as pa

from pipeline.errors import ConfigurationError
from pipeline.features import FeatureName
from pipeline.store import AggregateResult

NEIGHBOURS = """
    with pairs as (
        select source_layer as layer, source_feature as feature, target_layer as other_layer,
            target_feature as other_feature, n_coactive, jaccard, npmi, virtual_weight, twera
        from feature_pairs
        union all
        select target_layer, target_feature, source_layer, source_feature, n_coactive, jaccard, npmi,
            virtual_weight, twera
        from feature_pairs
    )
    select other_layer as layer, other_feature as feature, n_coactive, jaccard, npmi, virtual_weight, twera
    from pairs where layer = $layer and feature = $feature
    order by npmi desc, jaccard desc, n_coactive desc, other_layer, other_feature limit $most
"""


def neighbours(pairs: AggregateResult, layer: int, feature: int, most: int) -> pa.Table:
    """Return the neighbours of a feature on any layer, by NPMI; weights are those of the lower on the higher.

    Raises:
        ConfigurationError: no pair of this feature is above the support cut.

    """
    values = {"layer": layer, "feature": feature, "most": most}
    found = pairs.duckdb().sql(NEIGHBOURS, params=values).to_arrow_table()
    if not found.num_rows:
        least = pairs.identity["min_support"]
        raise ConfigurationError(
            f"feature {FeatureName(layer, feature)} is active together with no other at {least} positions "
            "or more: lower --min-support, or check layer and index."
        )
    return found
