"""Outputs of random graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.store.commits.keys import shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from tests.support.random_graphs import random_prompt

RUN = {"transcoders": {"name": "t", "content": "1"}, "dtype": "float32"}


def write_output(url: Path | str, seeds: range, families: list[str], run: dict = RUN, **given) -> Output:
    """An output of random graphs, four to a shard, with a family each."""
    output = Output(url)
    output.claim(run, -7, pa.schema([("family", pa.string())]))
    extra_columns = [{"family": families[seed % len(families)]} for seed in seeds]
    prompts = [random_prompt(s, extra_columns=c, **given) for s, c in zip(seeds, extra_columns, strict=True)]
    for first in range(0, len(prompts), 4):
        shard = prompts[first : first + 4]
        rows = join_tables([graph_tables(prompt, output.extra_columns) for prompt in shard])
        output.commit(shard_id([prompt.prompt_key for prompt in shard], -7), rows)
    return output


Tables = dict[str, pa.Table]


def altered(output: Output, url: Path, alter: Callable[[Tables], Tables], run: dict = RUN) -> Output:
    """A copy of an output whose rows were altered, as one shard."""
    tables = {
        name: output.dataset(name).to_table()
        for name in ("graphs", "nodes", "edges", "head_loadings", "qk", "activations", "reconstruction")
    }
    copy = Output(url)
    copy.claim(run, -8, pa.schema([("family", pa.string())]))
    rows = alter(tables)
    copy.commit(shard_id(rows["graphs"]["prompt_key"].to_pylist(), -8), rows)
    return copy


def without_features(tables: Tables) -> Tables:
    """The same graphs as a dictionary makes them that never fires."""
    graphs, nodes, edges = tables["graphs"], tables["nodes"], tables["edges"]
    none = pa.array([0] * graphs.num_rows, graphs.schema.field("active_features").type)
    column = graphs.schema.get_field_index("active_features")
    ends = [pc.not_equal(edges[side].cast(pa.string()), "feature") for side in ("source_kind", "target_kind")]
    return tables | {
        "graphs": graphs.set_column(column, graphs.schema.field(column), none),
        "activations": tables["activations"].slice(0, 0),
        "nodes": nodes.filter(pc.not_equal(nodes["kind"].cast(pa.string()), "feature")),
        "edges": edges.filter(pc.and_(*ends)),
        "head_loadings": tables["head_loadings"].slice(0, 0),
        "qk": tables["qk"].slice(0, 0),
    }
