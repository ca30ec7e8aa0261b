"""Query times of a compacted output and its bytes per edge, on 10 million synthetic edges.

The edges have the shape of pruned graphs of a model with 26 layers of 16,384 features: 1,000 prompts of 16
tokens, each with 10,000 edges between some 600 nodes. How often a feature occurs falls off as one over its
rank. Each weight is a product of two log-normal node strengths and a normal draw, so mantissas are noise
as in measured weights; the strongest pairs that a circuit can have are the edges. End points cost 2.4 bytes
an edge in prompt order, where those of real graphs cost 1.5 to 2.6.

Timed is what a user calls, `Results.sql`, to an Arrow table: planning, choosing the projection, and reading;
the first query, which opens the files, is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from pipeline.benchmark.report import Report, Settings
from pipeline.results import Results
from pipeline.store import Output
from pipeline.store.commits import shard_id
from pipeline.store.compaction import Compacted
from schemas import TABLES

PROMPTS, EDGES_A_PROMPT, PROMPTS_A_SHARD = 1000, 10_000, 50
LAYERS, FEATURES, POSITIONS, VOCABULARY = 26, 16_384, 16, 50_000
ACTIVE, ERRORS, TARGETS = 500, 75, 5
"""Nodes of a graph, besides its tokens."""

SAMPLED = 50
"""Prompts and features that are looked up."""

KINDS = pa.array(["feature", "error", "token", "logit"])
FEATURE, ERROR, TOKEN, LOGIT = range(4)
RUN_KEY = 0


def report(settings: Settings) -> Report:
    """Write, compact and ask a synthetic output in a temporary folder."""
    with TemporaryDirectory(prefix="circuit-sweep-bench-") as folder:
        output = Output(folder)
        write_seconds = _seconds(lambda: write_synthetic(output))
        done: list[Compacted] = []
        compact_seconds = _seconds(lambda: done.extend(output.compact()))
        edges = next(part for part in done if part.table == "edges")
        rows = [
            ("edges", f"{edges.rows:,}"),
            ("files, before and after", f"{edges.files_before} and {edges.files}"),
            ("bytes an edge, by prompt", f"{edges.bytes / edges.rows:.2f}"),
            *(
                (f"bytes an edge, {name}", f"{size / edges.rows:.2f}")
                for name, size in edges.projections.items()
            ),
            *_lookups(Results(output), settings.repeats),
            ("making and committing", f"{write_seconds:.0f} s"),
            ("compacting, all projections", f"{compact_seconds:.0f} s"),
        ]
    remarks = f"Synthetic edges of {PROMPTS:,} prompts; times are median / slowest of {SAMPLED} lookups."
    return Report(("store", ""), tuple(rows), remarks)


def _lookups(results: Results, repeats: int) -> Iterator[tuple[str, str]]:
    draw = np.random.default_rng(1)
    keys = draw.choice(results.dataset("graphs").to_table(columns=["prompt_key"])["prompt_key"], SAMPLED)
    yield "one prompt's graph", _timed(lambda key: _graph(results, key), keys, repeats)
    for end in ("source", "target"):
        features = _features(results, end)
        drawn = draw.choice(features, SAMPLED)
        yield (
            f"one feature's edges as {end}",
            _timed(lambda at, e=end: _edges(results, e, *at), drawn, repeats),
        )
        busiest = features[:1]
        yield (
            f"  the busiest feature's ({end})",
            _timed(lambda at, e=end: _edges(results, e, *at), busiest, repeats),
        )


def _features(results: Results, end: str) -> list[tuple[int, int]]:
    """Return layer and index of every feature that is an end of an edge, the busiest first."""
    edges = results.relation("edges").filter(f"{end}_kind = 'feature'")
    counts = edges.aggregate(f"{end}_layer, {end}_feature, count(*) as edges").order(
        f"edges desc, {end}_layer, {end}_feature"
    )
    return [(layer, feature) for layer, feature, _ in counts.fetchall()]


def _graph(results: Results, key: int) -> list[pa.Table]:
    tables = ("graphs", "nodes", "edges")
    return [results.sql(f"select * from {t} where prompt_key = {key}").to_arrow_table() for t in tables]


def _edges(results: Results, end: str, layer: int, feature: int) -> pa.Table:
    here = f"{end}_kind = 'feature' and {end}_layer = {layer} and {end}_feature = {feature}"
    return results.sql(f"select * from edges where {here}").to_arrow_table()


def _timed(ask: Callable[[object], object], things: Iterable[object], repeats: int) -> str:
    things = list(things)
    ask(things[0])
    times = [median(_seconds(lambda thing=thing: ask(thing)) for _ in range(repeats)) for thing in things]
    return f"{1000 * median(times):.1f} / {1000 * max(times):.1f} ms"


def _seconds(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def write_synthetic(output: Output) -> None:
    """Commit and publish all prompts, shard by shard."""
    draw = np.random.default_rng(0)
    output.claim({"synthetic": True}, RUN_KEY)
    for keys in draw.integers(-(2**62), 2**62, (PROMPTS // PROMPTS_A_SHARD, PROMPTS_A_SHARD)):
        prompts = [_prompt(int(key), draw) for key in keys]
        tables = {name: pa.concat_tables([prompt[name] for prompt in prompts]) for name in prompts[0]}
        output.commit(shard_id(map(int, keys), RUN_KEY), tables)
    output.publish(RUN_KEY)


def _prompt(key: int, draw: np.random.Generator) -> dict[str, pa.Table]:
    """Draw one prompt's rows."""
    kind, node = _nodes(draw)
    source, target, weight = _strongest(kind, node, draw)
    count = len(kind)
    target_index = pa.array(np.arange(count) - count + TARGETS, mask=kind != LOGIT)
    nodes = {
        **_node_columns("", kind, node),
        "target_index": target_index,
        "position_from_end": POSITIONS - 1 - node[:, 1],
        **{name: draw.random(count) for name in TABLES["nodes"].byte_stream_split},
        "stability": draw.integers(0, 16, count) / 15,
    }
    influence = np.abs(weight) * draw.random(len(weight)) * 1e-3
    edges = {
        **_node_columns("source_", kind[source], node[source]),
        **_node_columns("target_", kind[target], node[target]),
        "target_index": target_index.take(pa.array(target)),
        "weight": weight,
        "influence": influence,
        "stability": draw.integers(0, 16, len(weight)) / 15,
    }
    return {
        "graphs": _graph_row(key, count, len(weight)),
        "nodes": _table("nodes", _of_prompt(key, count) | nodes),
        "edges": _table("edges", _of_prompt(key, len(weight)) | edges),
    }


def _of_prompt(key: int, rows: int) -> dict[str, object]:
    return {"prompt_key": np.full(rows, key), "id": pa.repeat(f"prompt {key}", rows)}


def _nodes(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the kind of each node, and its layer, position and feature."""
    rank = (FEATURES ** draw.random(ACTIVE)).astype(int)  # its logarithm is uniform: frequency is 1 / rank
    layer = draw.integers(0, LAYERS, ACTIVE)
    parts = {
        FEATURE: (layer, draw.integers(1, POSITIONS, ACTIVE), (rank * 7919 + layer * 31) % FEATURES),
        ERROR: (draw.integers(0, LAYERS, ERRORS), draw.integers(1, POSITIONS, ERRORS), np.full(ERRORS, -1)),
        TOKEN: (np.full(POSITIONS, -1), np.arange(POSITIONS), draw.integers(0, VOCABULARY, POSITIONS)),
        LOGIT: (
            np.full(TARGETS, LAYERS),
            np.full(TARGETS, POSITIONS - 1),
            draw.integers(0, VOCABULARY, TARGETS),
        ),
    }
    by_kind = {kind: np.unique(np.stack(part, 1), axis=0) for kind, part in parts.items()}
    kind = np.repeat(list(by_kind), [len(part) for part in by_kind.values()])
    return kind, np.concatenate(list(by_kind.values()))


def _strongest(
    kind: np.ndarray, node: np.ndarray, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw weights for the pairs that a circuit can have and return the strongest, by target, then source."""
    layer, position = node[:, 0], node[:, 1]
    takes = np.flatnonzero(np.isin(kind, [FEATURE, LOGIT]))
    possible = (layer[None] < layer[takes, None]) & (position[None] <= position[takes, None])
    target, source = np.nonzero(possible)
    target = takes[target]
    strength = draw.lognormal(0, 1, len(kind))
    weight = draw.standard_normal(len(source)) * strength[source] * strength[target]
    kept = np.sort(np.argpartition(-np.abs(weight), EDGES_A_PROMPT)[:EDGES_A_PROMPT])
    return source[kept], target[kept], weight[kept]


def _node_columns(prefix: str, kind: np.ndarray, node: np.ndarray) -> dict[str, object]:
    layer, position, number = node.T
    columns = {
        "kind": pa.DictionaryArray.from_arrays(pa.array(kind.astype(np.int8)), KINDS),
        "layer": pa.array(layer, mask=kind == TOKEN),
        "position": position,
        "feature": pa.array(number, mask=kind != FEATURE),
        "token_id": pa.array(number, mask=~np.isin(kind, [TOKEN, LOGIT])),
    }
    return {f"{prefix}{name}": values for name, values in columns.items()}


def _table(name: str, columns: dict[str, object]) -> pa.Table:
    schema = TABLES[name].schema
    return pa.Table.from_arrays(
        [pa.array(columns[f.name]).cast(f.type, safe=False) for f in schema], schema=schema
    )


def _graph_row(key: int, nodes: int, edges: int) -> pa.Table:
    """A row of `graphs` that says as much of a prompt as the bench needs."""
    empty = {"string": "", "int64": 0, "int32": 0, "float": 0.0, "double": 0.0, "timestamp[us, tz=UTC]": 0}
    schema = TABLES["graphs"].schema
    row = {field.name: empty.get(str(field.type), []) for field in schema}
    return pa.Table.from_pylist([row | {"prompt_key": key, "kept_nodes": nodes, "kept_edges": edges}], schema)
