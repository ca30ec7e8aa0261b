"""A sweep's graphs as shards of work, and each graph read back as a circuit.

The sweep's own shards are the validation's: their rows lie together in one file a table. Which graphs are
tested is decided by a hash of seed and prompt, so the choice is the same whatever has been done already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import ConfigurationError
from pipeline.runtime import Item
from pipeline.store import Output
from pipeline.validation.faithfulness import Circuit, ExplainedTarget

FEATURE = ("layer", "position", "feature")
PAIR = "pair"
"""Column that partners share, unless another is named."""

CACHED_FILES = 4
"""Files that a worker keeps open: one shard's."""


@dataclass(slots=True, kw_only=True)
class StoredGraph(Item):
    """A prompt that has a graph."""

    token_ids: tuple[int, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """The files that hold its rows, by table, relative to the sweep's output."""


@dataclass(frozen=True)
class StoredGraphs:
    """The graphs of a sweep that are tested; those of one of its shards are a group."""

    source: Output
    """The sweep's output."""

    seed: int
    share: float
    """Share of the graphs that are tested."""

    def __iter__(self) -> Iterator[StoredGraph]:
        """Yield them by key alone, without reading a row."""
        for marker in self.source.committed():
            files = {table: file.path for table, file in marker.files.items()}
            for key in marker.prompt_keys:
                if is_chosen(key, self.seed, self.share):
                    yield StoredGraph(key=key, id=str(key), group=marker.shard, files=files)

    def complete(self, graphs: Sequence[StoredGraph]) -> list[StoredGraph]:
        """Read id, text and tokens of some graphs of one group."""
        found = {graph.key: graph for graph in graphs}
        rows = read_rows(self.source, "graphs", graphs[0].files, list(found)).to_pylist()
        return [
            replace(
                found[row["prompt_key"]], id=row["id"], text=row["text"], token_ids=tuple(row["token_ids"])
            )
            for row in rows
        ]


def is_chosen(prompt_key: int, seed: int, share: float) -> bool:
    """Tell whether a prompt is among the share that is tested."""
    digest = blake2b(f"{seed}:{prompt_key}".encode(), digest_size=8, person=b"validation").digest()
    return int.from_bytes(digest, "little") < share * 2**64


def read_partners(source: Output, pair: str | None) -> dict[int, int]:
    """Return the first token of the partner's first target, by key of the prompt.

    Args:
        source: the sweep's output.
        pair: column that partners share; None for `pair`, where there is one.

    Raises:
        ConfigurationError: there is no such column.

    """
    columns = source.snapshot().schemas["graphs"].names
    if pair not in (None, *columns):
        raise ConfigurationError(
            f"--pair is {pair!r}, which is no column of `graphs`; those are {', '.join(columns)}. "
            "`prompts.columns` of the sweep file keeps columns of the prompts' file."
        )
    if pair is None and PAIR not in columns:
        return {}
    name = pair or PAIR
    members: dict[Any, list[tuple[int, int]]] = {}
    rows = source.dataset("graphs").to_table(columns=["prompt_key", name, "targets"])
    for key, value, targets in zip(*(rows[column].to_pylist() for column in rows.column_names), strict=True):
        if value is not None and targets[0]["kind"] == "token":
            members.setdefault(str(value), []).append((key, targets[0]["token_ids"][0]))
    pairs = [found for found in members.values() if len(found) == 2]
    return {key: other for one, two in pairs for key, other in ((one[0], two[1]), (two[0], one[1]))}


def read_circuit(source: Output, stored: StoredGraph, partners: Mapping[int, int] | None = None) -> Circuit:
    """Read a graph back, with its partner's answer where there is one."""
    key = [stored.key]
    (graph,) = read_rows(source, "graphs", stored.files, key).to_pylist()
    nodes = read_rows(source, "nodes", stored.files, key).filter(pc.field("kind") == "feature")
    active = read_rows(source, "activations", stored.files, key)
    edges = read_rows(source, "edges", stored.files, key)
    features = features_of(nodes)
    targets = tuple(map(ExplainedTarget.of, graph["targets"]))
    return Circuit(
        token_ids=stored.token_ids,
        targets=targets,
        features=features,
        activations=nodes["activation"].to_numpy().astype(float),
        influence=nodes["influence"].to_numpy().astype(float),
        active=features_of(active),
        active_activations=active["activation"].to_numpy().astype(float),
        edges=_matrix(edges, features),
        direct=_direct(edges, features, np.array([target.weight for target in targets])),
        partner=(partners or {}).get(stored.key),
    )


def read_rows(source: Output, table: str, files: Mapping[str, str], keys: list[int]) -> pa.Table:
    """Read some prompts' rows: from their shard's file, or from wherever a compaction has put them."""
    wanted = pc.field("prompt_key").isin(keys)
    path = files.get(table)
    if path is None:
        return source.schemas[table].empty_table()
    if source.folder.exists(path):
        return _open(source, path).filter(wanted)
    return source.dataset(table).to_table(filter=wanted)


@lru_cache(CACHED_FILES)
def _open(source: Output, path: str) -> pa.Table:
    table = pq.read_table(pa.BufferReader(source.folder.read(path)))
    return pa.table({name: _plain(table[name]) for name in table.column_names})


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # Comparing a dictionary of strings to a string is not offered by every release of pyarrow.
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def features_of(rows: pa.Table, prefix: str = "") -> np.ndarray:
    """Return (layer, position, feature) of each row."""
    return np.stack([rows[f"{prefix}{name}"].to_numpy() for name in FEATURE], axis=1).astype(np.int64)


def _matrix(edges: pa.Table, features: np.ndarray) -> np.ndarray:
    """Return the weights of the edges between features, rows are targets."""
    between = edges.filter((pc.field("source_kind") == "feature") & (pc.field("target_kind") == "feature"))
    index = {tuple(feature): i for i, feature in enumerate(features.tolist())}
    ends = [
        np.array([index[tuple(feature)] for feature in features_of(between, end).tolist()], dtype=int)
        for end in ("target_", "source_")
    ]
    matrix = np.zeros((len(features), len(features)))
    matrix[ends[0], ends[1]] = between["weight"].to_numpy()
    return matrix


def _direct(edges: pa.Table, features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return each feature's edges to the targets, summed by the targets' weights."""
    to_targets = edges.filter((pc.field("source_kind") == "feature") & (pc.field("target_kind") == "logit"))
    index = {tuple(feature): i for i, feature in enumerate(features.tolist())}
    sources = [index[tuple(feature)] for feature in features_of(to_targets, "source_").tolist()]
    direct = np.zeros(len(features))
    amounts = np.abs(to_targets["weight"].to_numpy()) * weights[to_targets["target_index"].to_numpy()]
    np.add.at(direct, np.array(sources, dtype=int), amounts)
    return direct
