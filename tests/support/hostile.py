"""What strangers may write into prompts, tokens, labels, groups and addresses."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from pipeline.graph.attribution_graph import Target
from pipeline.store.commits.keys import shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from tests.support.outputs import RUN
from tests.support.random_graphs import random_prompt

HOSTILE = (
    "<img src=x onerror=window.stung=1>",
    "</script><script>window.stung=1</script>",
    "\u202eright to left\u202c",
    "zero\u200bwidth\u2066isolate",
    "nul\x00and\x07bell\n\ttab",
    "😀👩‍👩‍👧 العربية עברית",
    "<0xE2>",
    "javascript:window.stung=1",
    "a" * 100_000,
    "'\"`${window.stung=1}",
)

IDS = ("a/b#c?d%e&f=g", "<img src=x onerror=window.stung=1>", "%2e%2e/..", "ünï çödé 😀", "\u202egnp.exe")


def hostile_output(url: Path | str) -> Output:
    """Five graphs in which every text is hostile."""
    output = Output(str(url))
    column = "<b>family</b>"
    output.claim(RUN, -7, pa.schema([("family", pa.string()), (column, pa.string())]))
    prompts = []
    for seed, name in enumerate(IDS):
        texts = [HOSTILE[(seed + i) % len(HOSTILE)] for i in range(len(HOSTILE))]
        targets = (Target(texts[0][:200], 7, 0.75), Target(texts[1][:200], 9, 0.125))
        columns = {"family": texts[2][:200], column: texts[3][:200]}
        prompt = random_prompt(seed, id=name, targets=targets, extra_columns=columns, edges=400)
        prompt.graph.prompt = " ".join(texts[:7])
        prompt.graph.token_strings = tuple(texts[: prompt.graph.n_positions])
        prompts.append(prompt)
    rows = join_tables([graph_tables(prompt, output.extra_columns) for prompt in prompts])
    output.commit(shard_id([prompt.prompt_key for prompt in prompts], -7), rows)
    return output
