"""Graphs of a sweep written to a folder, as viewers and graph tools expect to find them.

FOLDER/<slug>.json                       attribution graph; the slug is the prompt's id where that is a name
FOLDER/<slug>.graphml                    the same for graph tools
FOLDER/graph-metadata.json               the graphs that are there, for viewers' lists
FOLDER/features/<scan>/<number>.json     features that appear in them
FOLDER/features/<scan>.json              the sweep that they are of; another's go into a folder of their own
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc

from pipeline.aggregates import Grouping, read_groups
from pipeline.export.feature_json import feature_documents
from pipeline.export.folder import ExportFolder
from pipeline.export.graph_json import graph_document
from pipeline.export.names import checked_scan, public_name, scan_name
from pipeline.export.networks import write_graphml
from pipeline.export.size import NEURONPEDIA_TAKES, cut, encoded
from pipeline.results import Results, StoredGraph, graph_of, read_graph
from pipeline.sweep_model import recorded_model

FeatureDetail = Literal["full", "activations", "none"]


@dataclass(frozen=True)
class Exported:
    """Graphs and features that were written."""

    graphs: list[Path]
    """Attribution-graph documents."""

    features: int
    """Feature documents."""

    too_large: dict[str, int]
    """Bytes of graphs that Neuronpedia does not take, by name."""


def export(
    results: Results,
    folder: Path,
    prompts: Sequence[str] = (),
    where: str | None = None,
    features: FeatureDetail = "full",
    progress: Callable[[str], None] = lambda _: None,
    trust_remote_code: bool = False,
    *,
    scan: str | None = None,
    supernodes: bool = False,
    graphml: bool = True,
    most_bytes: int | None = None,
) -> Exported:
    """Write graphs, and the features that appear in them, to a folder.

    Args:
        results: where they are read from.
        folder: where they go; what is there under the same names is replaced.
        prompts: ids of prompts.
        where: SQL over `graphs` that chooses prompts, such as `family = 'two_hop'`.
        features: `full` with the tokens that they promote, for which the model is loaded; `activations`
            without; or `none`.
        progress: told the name of each graph that was written.
        trust_remote_code: run code that the model's repository brings, if the sweep did.
        scan: name of the dictionary in documents and paths, for Neuronpedia its name of the model; by default
            the dictionary's own, with a hash where the folder has another sweep's features under it.
        supernodes: show features of one supernode together, as `aggregate --of supernodes` last found them.
        graphml: write GraphML too.
        most_bytes: limit of a graph's document, above which links of the lowest influence are left out.

    Raises:
        QueryError: there are no supernodes yet.
        StoreError: there is no such prompt.
        ConfigurationError: `where` is no SQL condition over `graphs` or holds for no prompt, `scan` has
            characters that viewers do not take, or the model is another one now, or needs code that is not
            trusted.
        ModelError, TranscoderError: the model cannot be loaded.

    """
    claim = results.output.claimed()
    given = None if scan is None else checked_scan(scan)
    scan = given or scan_name(public_name(claim.run.get("transcoders", {})))
    groups = _supernodes(results) if supernodes else {}
    model = recorded_model(results.output, trust_remote_code).load() if features == "full" else None
    features_at = None
    target = ExportFolder(folder)
    if features != "none":
        name = target.features_name(scan, claim.run_key, claim.created)
        scan, features_at = given or name, f"features/{name}"
    written: list[Path] = []
    too_large: dict[str, int] = {}
    appearing: dict[int, set[int]] = defaultdict(set)
    for graph in _graphs(results, prompts, where):
        name = target.name_for(graph.prompt)
        document = graph_document(graph, claim.run, name, scan, features_at, groups, results.labels)
        data = encoded(document)
        if most_bytes is not None and len(data) > most_bytes:
            document = cut(document, graph.scores, most_bytes)
            data = encoded(document)
        if len(data) > NEURONPEDIA_TAKES:
            too_large[name] = len(data)
        written.append(target.write_json(f"{name}.json", data))
        if graphml:
            target.write(f"{name}.graphml", partial(write_graphml, graph, labels=results.labels))
        target.add_to_index(document["metadata"])
        for layer, feature in _features_of(graph):
            appearing[layer].add(feature)
        progress(name)
    count = _write_features(results, target, features_at, scan, appearing, model) if features_at else 0
    return Exported(written, count, too_large)


def _supernodes(results: Results) -> dict[tuple[int, int], str]:
    """Return the name of each feature's supernode, by layer and index; none for features that are alone."""
    rows = results.sql(
        "select layer, feature, supernode, is_stable, prompt_group from supernodes where members > 1"
    )
    # A reader of the file sees no table: what was not shown to hold says so in its name.
    return {
        (layer, feature): f"{'' if stable else 'unstable '}supernode {number}"
        + (f": {group}" if group else "")
        for layer, feature, number, stable, group in rows.fetchall()
    }


def _graphs(results: Results, prompts: Sequence[str], where: str | None) -> Iterable[StoredGraph]:
    yield from (read_graph(results, prompt) for prompt in prompts)
    if where is not None:
        chosen = read_groups(results.snapshot, Grouping(where=where)).rows["prompt_key"]
        rows = results.dataset("graphs").to_table(filter=pc.field("prompt_key").isin(chosen))
        rows = rows.sort_by([("id", "ascending"), ("prompt_key", "ascending")])
        yield from (graph_of(results, row) for row in rows.to_pylist() if row["id"] not in prompts)


def _features_of(graph: StoredGraph) -> set[tuple[int, int]]:
    nodes = graph.nodes.select(["kind", "layer", "feature"]).to_pylist()
    return {(node["layer"], node["feature"]) for node in nodes if node["kind"] == "feature"}


def _write_features(
    results: Results,
    target: ExportFolder,
    features_at: str,
    scan: str,
    appearing: dict[int, set[int]],
    model: Any,
) -> int:
    count = 0
    for layer, features in sorted(appearing.items()):
        documents = feature_documents(results, layer, features, scan)
        if model is not None:
            from pipeline.export.logits import add_logits

            add_logits(model, layer, list(documents.values()))
        for number, document in documents.items():
            target.write_json(f"{features_at}/{number}.json", document)
        count += len(documents)
    return count
