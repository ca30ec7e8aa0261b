from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.store import Output, graph_tables, join_tables, shard_id
from tests.store.random_graphs import random_prompt

RUN = {"transcoders": {"name": "t", "content": "1"}, "dtype": "float32"}


def write_output(url: Path | str, seeds: range, families: list[str], run: dict = RUN, **given) -> Output:
    """An output of random graphs, four to a shard, with a family each."""
    output = Output(url)
    output.claim(run, -7, pa.schema([("family", pa.string())]))
    carried = [{"family": families[seed % len(families)]} for seed in seeds]
    prompts = [random_prompt(s, carried=c, **given) for s, c in zip(seeds, carried, strict=True)]
    for first in range(0, len(prompts), 4):
        shard = prompts[first : first + 4]
        rows = join_tables([graph_tables(prompt, output.carried) for prompt in shard])
        output.commit(shard_id([prompt.prompt_key for prompt in shard], -7), rows)
    return output


@pytest.fixture
def random_output(tmp_path: Path) -> Output:
    """22 random graphs in six shards, of three families and (each fourth) none."""
    return write_output(tmp_path / "output", range(22), ["a", "b", "c", None], edges=600)
