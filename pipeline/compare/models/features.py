"""Features that answer otherwise in B than in A, family by family.

Features are paired by index where both models have the same dictionary, else through the match. Each prompt
gives a feature's largest activation, as a share of the largest that either model shows; each cluster the mean
of its prompts' differences. A feature moved in a family if the mean over clusters lies beyond a margin, by
Student's test of the differences less the margin, at a false discovery rate of 5% over all pairs of feature
and family that were tested: those where a graph of either model holds the feature.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy.stats import t as student

from pipeline.compare.sweep_pair import SweepPair
from pipeline.paired_differences import FALSE_DISCOVERY_RATE, LEAST_CLUSTERS, adjusted
from schemas import MODEL_TABLES

MARGIN = 0.1
"""Share of a feature's largest activation that it must move by."""

LEAST_SPREAD = 0.02
"""Least standard deviation of a feature's differences, as a share: equal ones are no certainty."""

PAIRED = """
    with a as (
        select prompt, r.layer, r.feature, max(activation)::double as x
        from a_activations r join prompts on r.prompt_key = a_key group by all
    ), b as (
        select prompt, m.layer_a as layer, m.feature_a as feature, max(activation)::double as x
        from b_activations r join prompts on r.prompt_key = b_key
            join paired m on m.layer_b = r.layer and m.feature_b = r.feature group by all
    ), kept as (
        select layer, feature, prompt_group, sum(a) as influence_a, sum(b) as influence_b from (
            select n.layer, n.feature, prompt_group, n.influence::double as a, 0.0 as b
            from a_nodes n join prompts on n.prompt_key = a_key where n.kind = 'feature'
            union all
            select m.layer_a, m.feature_a, prompt_group, 0.0, n.influence::double
            from b_nodes n join prompts on n.prompt_key = b_key
                join paired m on m.layer_b = n.layer and m.feature_b = n.feature where n.kind = 'feature'
        ) group by all
    ), sides as (
        select prompt, layer, feature, coalesce(a.x, 0) as a, coalesce(b.x, 0) as b
        from a full join b using (prompt, layer, feature)
    ), largest as (
        select layer, feature, max(greatest(a, b)) as top from sides group by all
    ), sizes as (
        select prompt_group, cluster, count(*) as prompts from prompts group by all
    ), by_cluster as (
        select layer, feature, prompt_group, cluster, sum(b - a) as moved, sum(a) as a, sum(b) as b
        from sides join prompts using (prompt) group by all
    ), shares as (
        select layer, feature, prompt_group, moved / top / s.prompts as d, a / top / s.prompts as a,
            b / top / s.prompts as b
        from by_cluster join largest using (layer, feature) join sizes s using (prompt_group, cluster)
    ), clusters as (
        select prompt_group, count(*) as clusters from sizes group by all
    )
    select prompt_group, layer, feature, any_value(clusters) as clusters,
        sum(shares.a) / any_value(clusters) as activation_a,
        sum(shares.b) / any_value(clusters) as activation_b,
        sum(d) as total, sum(d * d) as squares, any_value(influence_a) as influence_a,
        any_value(influence_b) as influence_b
    from shares join kept using (prompt_group, layer, feature) join clusters using (prompt_group)
    where (layer, feature) in (select (layer_a, feature_a) from paired)
    group by all order by all
"""


def feature_rows(pair: SweepPair, paired: pa.Table) -> pa.Table:
    """Return the rows of `compare_features`: a row for each family and feature in a graph of it.

    Args:
        pair: the two sweeps.
        paired: features that are compared: `layer_a`, `feature_a`, `layer_b`, `feature_b`.

    """
    pair.connection.register("paired", paired)
    rows = pair.sql(PAIRED)
    names = {
        (layer, feature): other
        for layer, feature, *other in zip(*(paired[name].to_pylist() for name in PAIR_COLUMNS), strict=True)
    }
    p_values = [
        _p_value(n, total, squares)
        for n, total, squares in zip(
            *(rows[c].to_pylist() for c in ("clusters", "total", "squares")), strict=True
        )
    ]
    found = []
    for row, p, q in zip(rows.to_pylist(), p_values, adjusted(p_values), strict=True):
        layer_b, feature_b = names[row["layer"], row["feature"]]
        found.append(
            {
                "prompt_group": row["prompt_group"],
                "layer_a": row["layer"],
                "feature_a": row["feature"],
                "layer_b": layer_b,
                "feature_b": feature_b,
                **{name: row[name] for name in TAKEN},
                "p_value": p,
                "q_value": q,
                "moved": q is not None and q <= FALSE_DISCOVERY_RATE,
            }
        )
    return pa.Table.from_pylist(found, MODEL_TABLES["compare_features"].schema)


PAIR_COLUMNS = ("layer_a", "feature_a", "layer_b", "feature_b")

TAKEN = ("clusters", "activation_a", "activation_b", "influence_a", "influence_b")


def _p_value(n: int, total: float, squares: float) -> float | None:
    """Return the two-sided probability of a mean as far beyond the margin; None of too few clusters."""
    if n < LEAST_CLUSTERS:
        return None
    mean = total / n
    spread = max(np.sqrt(max(squares / n - mean**2, 0.0) * n / (n - 1)), LEAST_SPREAD)
    beyond = (abs(mean) - MARGIN) / (spread / np.sqrt(n))
    return float(min(1.0, 2 * student.sf(beyond, n - 1)))


def same_features(pair: SweepPair) -> pa.Table:
    """Pair each feature that is active in either sweep with itself."""
    return pair.sql("""
        select layer as layer_a, feature as feature_a, layer as layer_b, feature as feature_b, true as matched
        from (select layer, feature from a_activations union select layer, feature from b_activations)
        order by all
    """)
