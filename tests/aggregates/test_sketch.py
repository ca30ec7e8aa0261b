from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.aggregates.stats.sketch import ACCURACY, bucket_sql, quantile_sql

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)


@settings(max_examples=50, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=60), st.sampled_from([1, 10, 50, 90, 99]))
def test_a_quantile_is_within_the_accuracy_of_its_value(values: list[float], percent: int) -> None:
    rows = pa.table({"x": pa.array(values, pa.float32())})
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("rows", rows)
        counts = f"select {bucket_sql('x')} as bucket, count(*) as n from rows group by all"
        running = f"select bucket, sum(n) over (order by bucket) as b, sum(n) over () as t from ({counts})"
        quantile = quantile_sql("bucket", "b", "t", percent)
        ((found,),) = connection.sql(f"select {quantile} from ({running})").fetchall()
    rank = -(-len(values) * percent // 100)
    exact = np.sort(np.array(values, dtype=np.float64))[rank - 1]
    assert abs(found - exact) <= abs(exact) * ACCURACY * (1 + 1e-6)
