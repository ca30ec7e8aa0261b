"""Quantiles from bucket counts that merge by addition: DDSketch.

A value x falls into bucket i = ceil(log_g |x|), g = (1 + a) / (1 - a), and is answered by 2 g^i / (g + 1): at
most a share `a` off, whatever the distribution. Counts of buckets just add up, so any cutting of the rows
gives the same answer to the bit, which sketches that draw samples (KLL, t-digest) do not. A feature's
activations span about two decades: some 230 buckets at a = 1%.
Source: Masson, Rim, Lee, "DDSketch", VLDB 2019, section 2.
"""

from __future__ import annotations

import math

ACCURACY = 0.01
"""Largest relative error of a quantile."""

GROWTH = (1 + ACCURACY) / (1 - ACCURACY)

OFFSET = 10_000
"""Offset that makes every float32's index positive: its sign is then the value's, and 0 is for zeros."""


def bucket_sql(value: str) -> str:
    """Return the SQL expression for a value's bucket; buckets ascend with values."""
    index = f"ceil(ln(abs({value}::double)) / {math.log(GROWTH)!r}) + {OFFSET}"
    return f"(case when {value} = 0 then 0 else sign({value}) * ({index}) end)::integer"


def value_sql(bucket: str) -> str:
    """Return the SQL expression for the value that a bucket answers with."""
    size = f"2 * pow({GROWTH!r}, abs({bucket}) - {OFFSET}) / {GROWTH + 1!r}"
    return f"(case when {bucket} = 0 then 0 else sign({bucket}) * {size} end)::double"


def quantile_sql(bucket: str, below: str, total: str, percent: int) -> str:
    """Return the aggregate for a quantile: the first bucket up to which `percent` of all values lie.

    `below` counts the values up to and including the bucket. Whole numbers throughout: 0.1 * 70 is above 7.
    """
    return value_sql(f"min({bucket}) filter (where {below} * 100 >= {total} * {percent})")
