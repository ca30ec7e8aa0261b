"""Sums sums, however the rows are cut, give what one query over all rows gives."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binom

from pipeline.aggregates.groups import Grouping, read_groups
from pipeline.aggregates.stats.clusters import labelled, read_clusters
from pipeline.aggregates.stats.merging import merge_edges, merge_features
from pipeline.aggregates.stats.sketch import ACCURACY
from pipeline.aggregates.stats.sums import QUERIES, Sums, sum_part
from pipeline.store.output import Output
from pipeline.store.table_parts import table_parts
from schemas import NODE_COLUMNS

CHANCE = "sign_consistency_by_chance"

FEATURES = """
    with active as (
        select family as prompt_group, layer, feature, count(distinct prompt_key) as prompts_active,
            count(*) as activations, avg(activation::double) as activation_mean,
            stddev_pop(activation::double) as activation_sd,
            quantile_disc(activation, 0.1) as activation_p10,
            quantile_disc(activation, 0.5) as activation_p50,
            quantile_disc(activation, 0.9) as activation_p90,
            max(activation) as activation_max, avg(positions - 1 - position) as from_end_mean,
            avg((position = positions - 1)::int) as at_end_share
        from activations join graphs using (prompt_key) where family is not null group by all
    ), kept as (
        select family as prompt_group, layer, feature, count(distinct prompt_key) as prompts_kept,
            sum(influence::double) / count(distinct prompt_key) as influence_mean
        from nodes join graphs using (prompt_key) where kind = 'feature' group by all
    )
    select * replace (coalesce(prompts_kept, 0) as prompts_kept)
    from active left join kept using (prompt_group, layer, feature) order by prompt_group, layer, feature
"""

ENDS = ", ".join(f"{e}_{name}" for e in ("source", "target") for name in NODE_COLUMNS if name != "position")

EDGES = f"""
    with per_prompt as (
        select prompt_key, family as prompt_group, {ENDS}, sum(weight::double) as weight,
            sum(influence::double) as influence
        from edges join graphs using (prompt_key) where family is not null group by all
    )
    select prompt_group, {ENDS}, count(*) as support,
        any_value((select count(*) from graphs where family = prompt_group)) as prompts,
        sum(weight) as weight_sum, sum(influence) as influence_sum,
        avg(weight) as weight_mean, stddev_pop(weight) as weight_sd,
        avg(influence) as influence_mean, stddev_pop(influence) as influence_sd,
        greatest(avg((weight > 0)::int), avg((weight < 0)::int)) as sign_consistency
    from per_prompt group by all order by all
"""


def merged(output: Output, part_bytes: int, partitions: int) -> dict[str, pa.Table]:
    """Both statistics over all partitions."""
    snapshot = output.snapshot()
    rows = read_groups(snapshot, Grouping("family")).rows
    labels, sizes = labelled(rows, *read_clusters(rows)), read_groups(snapshot, Grouping("family")).sizes
    sums: dict[str, list[list[Sums]]] = {
        table: [sum_part(part, labels, partitions) for part in table_parts(snapshot, table, part_bytes)]
        for table in QUERIES
    }
    by_feature = [*sums["activations"], *sums["nodes"]]
    return {
        "features": pa.concat_tables(merge_features([p[n] for p in by_feature]) for n in range(partitions)),
        "edges": pa.concat_tables(
            merge_edges([p[n] for p in sums["edges"]], sizes) for n in range(partitions)
        ),
    }


def _in_order(table: pa.Table, keys: list[str]) -> pa.Table:
    kinds = {name: table[name].cast(pa.string()) for name in keys if name.endswith(("kind", "prompt_group"))}
    for name, values in kinds.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return table.sort_by([(key, "ascending") for key in keys])


def assert_same(found: pa.Table, expected: pa.Table, keys: list[str], within: dict[str, float]) -> None:
    found, expected = (_in_order(table, keys) for table in (found, expected))
    assert found.num_rows == expected.num_rows > 100
    for name in found.column_names:
        ours, theirs = found[name].to_pylist(), expected[name].to_pylist()
        if name in keys:
            assert ours == theirs
        else:
            ours, theirs = (np.array(values, dtype=float) for values in (ours, theirs))
            np.testing.assert_allclose(ours, theirs, rtol=within.get(name, 1e-9), atol=1e-7, err_msg=name)


@pytest.mark.parametrize("compacted", [False, True], ids=["shards", "compacted"])
@pytest.mark.parametrize(("part_bytes", "partitions"), [(1, 3), (40_000, 2), (1 << 30, 1)])
def test_parts_give_what_one_query_gives(
    random_output: Output, compacted: bool, part_bytes: int, partitions: int
) -> None:
    if compacted:
        random_output.publish(-7)
        random_output.compact()
        part_bytes = max(part_bytes, 20_000)
    found = merged(random_output, part_bytes, partitions)
    query = random_output.duckdb()
    quantiles = dict.fromkeys(("activation_p10", "activation_p50", "activation_p90"), ACCURACY * 1.0001)
    expected = query.sql(FEATURES).to_arrow_table()
    assert_same(found["features"], expected, ["prompt_group", "layer", "feature"], quantiles)
    by_chance = dict(zip(*(found["edges"][n].to_pylist() for n in ("support", CHANCE)), strict=True))
    for support, mean in by_chance.items():
        heads = np.arange(support + 1)
        chances = binom.pmf(heads, support, 0.5)
        assert np.isclose(mean, (np.maximum(heads, support - heads) * chances).sum() / support)
    assert_same(
        found["edges"].drop_columns(CHANCE),
        query.sql(EDGES).to_arrow_table(),
        ["prompt_group", *ENDS.split(", ")],
        {},
    )
