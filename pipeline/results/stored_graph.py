"""One prompt's pruned graph, read back from the tables by the user's name for the prompt."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from jaxtyping import Float

from pipeline.errors import StoreError
from pipeline.features import FeatureName
from pipeline.picture import GraphPicture
from pipeline.results.paths import Edges, Path, strongest_paths
from pipeline.store import open_folder
from pipeline.store.commits import key_of_repeated
from pipeline.token_labels import token_label
from schemas import NODE_COLUMNS

IDS_NAMED = 5
"""Ids that are suggested where the one asked for is not there."""


SOURCE_COLUMNS = tuple(f"source_{name}" for name in NODE_COLUMNS)
TARGET_COLUMNS = (*(f"target_{name}" for name in NODE_COLUMNS), "target_index")
LOOK_COLUMNS = ("head_layer", "head", "query_at", "key_at")
EDGE_COLUMNS = (*SOURCE_COLUMNS, *TARGET_COLUMNS)


class Tables(Protocol):
    """Source of graphs: an `Output`, or `Results`, whose state is fixed."""

    @property
    def url(self) -> str:
        """Folder or `s3://` URL of the tables."""

    def dataset(self, table: str) -> ds.Dataset:
        """Return a table's rows."""


@dataclass(frozen=True)
class StoredGraph:
    """The rows of one prompt."""

    prompt: dict[str, Any]
    """Its row of `graphs`."""

    nodes: pa.Table
    """Its rows of `nodes`, in the graph's node order."""

    edges: Edges
    """Its edges, between indices into `nodes`."""

    scores: Float[np.ndarray, " edges"]
    """Each edge's share of the influence on the targets."""

    loadings: pa.Table
    """Its rows of `head_loadings`, with the `edge` of each as an index into `edges`."""

    qk: pa.Table
    """Its rows of `qk`, head by head, the one that brings most to targets first."""

    def top_features(self, count: int) -> list[dict[str, Any]]:
        """Return the features of highest influence on the targets."""
        features = self.nodes.filter(pc.field("kind") == "feature")
        return features.sort_by([("influence", "descending")]).slice(0, count).to_pylist()

    def top_target(self) -> int:
        """Return the index of the most probable target's node."""
        kinds = np.array(self.nodes["kind"].to_pylist())
        targets = np.flatnonzero(kinds == "logit")
        return int(targets[np.argmax(self.nodes["activation"].to_numpy()[targets])])

    def paths_to_top_target(self, count: int) -> list[Path]:
        """Return the strongest paths from any token to the most probable target."""
        layer = self.nodes["layer"].fill_null(-1).to_numpy()  # tokens lie below all layers
        is_token = np.array(self.nodes["kind"].to_pylist()) == "token"
        return strongest_paths(self.edges, layer, is_token, self.top_target(), count)

    def carriers(self, count: int) -> list[tuple[int, list[dict[str, Any]]]]:
        """Return the strongest edges that were split, each with its paths, the largest first."""
        edges = np.unique(self.loadings["edge"].to_numpy())
        found = []
        for edge in edges[np.argsort(-self.scores[edges], kind="stable")][:count]:
            rows = self.loadings.filter(pc.field("edge") == int(edge)).to_pylist()
            found.append((int(edge), sorted(rows, key=lambda row: -abs(row["loading"]))))
        return found

    def looks(self, count: int) -> list[list[dict[str, Any]]]:
        """Return the rows of each head that was asked why it looks where it does, its whole score first."""
        found: dict[tuple, list[dict[str, Any]]] = {}
        for row in self.qk.to_pylist():
            found.setdefault(tuple(row[name] for name in LOOK_COLUMNS), []).append(row)
        return list(found.values())[:count]

    def node(self, index: int) -> dict[str, Any]:
        """Return one row of `nodes`."""
        return self.nodes.slice(index, 1).to_pylist()[0]

    def label(self, index: int) -> str:
        """Name a node as people read it: its text for a token or a target, else layer, position and index."""
        node = self.node(index)
        token = token_label(self.prompt["tokens"][node["position"]])
        match node["kind"]:
            case "token":
                return f"{token}@{node['position']}"
            case "logit":
                return token_label(self.prompt["targets"][node["target_index"]]["label"])
            case "error":
                return f"error {node['layer']}@{node['position']}"
        return str(FeatureName(node["layer"], node["feature"], node["position"]))

    def picture(self) -> GraphPicture:
        """Return the graph's picture."""
        nodes, edges = self.nodes.to_pylist(), self.edges
        targets = self.prompt["targets"]
        named = {
            "token": lambda node: self.prompt["tokens"][node["position"]],
            "logit": lambda node: (
                f"{targets[node['target_index']]['label'].strip()} {node['activation']:.3f}"
            ),
        }
        tops = [node["layer"] for node in nodes if node["layer"] is not None]
        return GraphPicture(
            text=self.prompt["text"],
            n_layers=max(tops, default=0),
            tokens=self.prompt["tokens"],
            kinds=[node["kind"] for node in nodes],
            layers=[-1 if node["layer"] is None else node["layer"] for node in nodes],
            positions=[node["position"] for node in nodes],
            names=[named.get(node["kind"], _feature_name)(node) for node in nodes],
            source=edges.source.tolist(),
            target=edges.target.tolist(),
            weight=edges.weight.tolist(),
            influence=self.scores.tolist(),
        )

    def _repr_html_(self) -> str:
        return self.picture().svg()


def _feature_name(node: dict[str, Any]) -> str:
    return f"{node['layer']}/{node['feature']}"


def read_graph(tables: Tables, prompt_id: str) -> StoredGraph:
    """Read the graph of a prompt; of several prompts with one id, the first.

    Raises:
        StoreError: no graph has this id; the message says what became of it, or which ids there are.

    """
    rows = tables.dataset("graphs").to_table(filter=pc.field("id") == prompt_id)
    if not rows.num_rows:
        raise StoreError(why_missing(tables, prompt_id))
    return graph_of(tables, rows.slice(0, 1).to_pylist()[0])


def graph_of(tables: Tables, prompt: dict[str, Any]) -> StoredGraph:
    """Read the graph that belongs to a row of `graphs`."""
    here = pc.field("prompt_key") == prompt["prompt_key"]
    nodes = tables.dataset("nodes").to_table(filter=here)
    nodes = nodes.set_column(nodes.column_names.index("kind"), "kind", nodes["kind"].cast(pa.string()))
    edges = tables.dataset("edges").to_table(filter=here)
    loadings = tables.dataset("head_loadings").to_table(filter=here)
    qk = tables.dataset("qk").to_table(filter=here)
    number = {name: index for index, name in enumerate(_names(edges, EDGE_COLUMNS))}
    of_edge = pa.array([number[name] for name in _names(loadings, EDGE_COLUMNS)], pa.int64())
    return StoredGraph(
        prompt,
        nodes,
        _indexed(nodes, edges),
        edges["influence"].to_numpy(),
        loadings.append_column("edge", of_edge),
        qk,
    )


def _indexed(nodes: pa.Table, edges: pa.Table) -> Edges:
    """Replace the spelt-out end points by indices into the nodes."""
    index = {name: i for i, name in enumerate(_names(nodes, (*NODE_COLUMNS, "target_index")))}
    ends = {
        "source": np.array([index[*name, None] for name in _names(edges, SOURCE_COLUMNS)]),
        "target": np.array([index[name] for name in _names(edges, TARGET_COLUMNS)]),
    }
    return Edges(
        ends["source"].astype(np.int64),
        ends["target"].astype(np.int64),
        edges["weight"].to_numpy(),
        nodes["total_input"].to_numpy(),
    )


def _names(rows: pa.Table, columns: Iterable[str]) -> Iterator[tuple]:
    return zip(*(rows[column].to_pylist() for column in columns), strict=True)


def _whose_graph(tables: Tables, prompt_id: str, key: int) -> str:
    same = pc.field("prompt_key") == key
    ids = tables.dataset("graphs").to_table(columns=["id"], filter=same)["id"].to_pylist()
    where = f"prompt {ids[0]!r}, which holds the graph of both" if ids else "another, which has none either"
    return f"prompt {prompt_id!r} has the tokens of {where}."


def why_missing(tables: Tables, prompt_id: str) -> str:
    """Say what became of a prompt that has no graph, or which ids there are."""
    failures = tables.dataset("failures").to_table(filter=pc.field("id") == prompt_id).to_pylist()
    if failures:
        failure = failures[0]
        return f"prompt {prompt_id!r} has no graph, it failed ({failure['stage']}): {failure['message']}"
    if (key := key_of_repeated(open_folder(tables.url), prompt_id)) is not None:
        return _whose_graph(tables, prompt_id, key)
    ids = tables.dataset("graphs").to_table(columns=["id"])["id"].to_pylist()
    if not ids:
        return f"{tables.url} holds no graph yet: run its sweep first."
    near = difflib.get_close_matches(prompt_id, ids, n=IDS_NAMED) or ids[:IDS_NAMED]
    return f"no graph in {tables.url} has the id {prompt_id!r}; there are, for example: {', '.join(near)}."
