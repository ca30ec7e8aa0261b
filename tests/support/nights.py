"""Nights of a sweep, one shard each."""

from __future__ import annotations

import pyarrow as pa

from pipeline.store.commits.keys import shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from tests.support.random_graphs import random_prompt

RUN_KEY = -7


def night(output: Output, seeds: range) -> None:
    """Commit and publish one shard of prompts."""
    output.claim({}, RUN_KEY, pa.schema([("family", pa.string())]))
    prompts = [random_prompt(seed, extra_columns={"family": f"f{seed % 2}"}) for seed in seeds]
    rows = join_tables(graph_tables(prompt, output.extra_columns) for prompt in prompts)
    assert output.commit(shard_id([prompt.prompt_key for prompt in prompts], RUN_KEY), rows)
    output.publish(RUN_KEY)
