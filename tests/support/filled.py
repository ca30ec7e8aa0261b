"""A small output of three shards."""

from __future__ import annotations

import pyarrow as pa

from pipeline.store.commits.keys import shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import failure_tables, join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import FailedPrompt
from tests.support.random_graphs import random_prompt

RUN_KEY = -7


def commit(output: Output, seeds: range) -> str:
    """Commit a shard of prompts and a failure, as a sweep does; return its id."""
    prompts = [random_prompt(seed, extra_columns={"family": f"f{seed}"}) for seed in seeds]
    rows = [graph_tables(prompt, output.extra_columns) for prompt in prompts]
    failed = FailedPrompt(seeds[0], f"bad-{seeds[0]}", RUN_KEY, "", "tokenize", "PromptError", "empty")
    rows.append(failure_tables(failed, output.extra_columns))
    shard = shard_id([*(prompt.prompt_key for prompt in prompts), seeds[0]], RUN_KEY)
    assert output.commit(shard, join_tables(rows))
    return shard


def fill(output: Output) -> Output:
    """Three shards of two prompts and a failure, of which two are published."""
    output.claim({}, RUN_KEY, pa.schema([("family", pa.string())]))
    for number in range(2):
        commit(output, range(10 * number, 10 * number + 2))
    output.publish(RUN_KEY)
    commit(output, range(20, 22))
    return output
