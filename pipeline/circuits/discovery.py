"""Circuits of a sweep as a result beside its tables: found, named, and laid over all prompts.

It is an aggregate like others: of the sweep's files and the settings, so asking again costs nothing, a night
later it is a new result, and old ones stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.aggregates import Aggregate, Computed, read_groups
from pipeline.circuits.finding import (
    TARGET,
    Calls,
    Circuit,
    Found,
    by_node,
    find,
    read_targets,
    read_tokens,
    strongest,
    supernode_name,
)
from pipeline.circuits.labels import check_columns
from pipeline.circuits.roles import ROLES
from pipeline.circuits.settings import Settings
from pipeline.circuits.use import circuits_info, read_labels, write_support
from pipeline.store import AggregateResult, Snapshot, TablePart, table_parts
from schemas import AGGREGATE_TABLES

FINDING = ("subject", "fdr", "min_support", "min_share")
"""Settings that decide what is found; the others are of its tests."""

Named = dict[tuple[int, int, int], dict[str, float]]


@dataclass(frozen=True)
class Discovery(Aggregate):
    """Circuits of each group of prompts."""

    settings: Settings = field(default_factory=Settings)

    @property
    def name(self) -> str:
        """Beginning of the result's name."""
        return "circuits"

    def identity(self) -> dict[str, Any]:
        """Return what changes the result."""
        chosen = {name: value for name, value in asdict(self.settings).items() if name in FINDING}
        return self.grouping.identity | chosen

    def compute(self, snapshot: Snapshot, result: AggregateResult, tasks: Calls) -> Computed:
        """Find circuits, name them, and see which prompts use them."""
        check_columns(snapshot, self.settings)
        groups = read_groups(snapshot, self.grouping)
        parts = {
            table: list(table_parts(snapshot, table, self.part_bytes))
            for table in ("graphs", "edges", "activations")
        }
        labels = read_labels(parts["graphs"], groups, self.settings.subject, tasks)
        partitions = max(1, min(len(parts["edges"]), MAX_PARTITIONS))
        found = find(parts["edges"], labels, self.settings, tasks, partitions)
        named = _named(found, parts, tasks)
        tables = {
            "circuits": _circuit_rows(found, named),
            "circuit_nodes": _node_rows(found, named),
            "circuit_edges": _edge_rows(found),
        }
        files = {name: [result.write(name, rows, 0)] for name, rows in tables.items()}
        files["circuit_support"] = write_support(
            result, parts["edges"], labels, tables["circuit_edges"], tasks
        )
        return files, circuits_info(groups, labels, len(found.recurring.key), int(found.recurs.sum()))


MAX_PARTITIONS = 64
"""Most partitions of the edges that sums are merged in."""


def _named(found: Found, parts: dict[str, list[TablePart]], tasks: Calls) -> tuple[Named, Named]:
    """Return what nodes are active on, and which targets they raise or lower."""
    nodes = sorted({node for circuit in found.circuits for node in circuit.supernodes})
    if not nodes:
        return {}, {}
    columns = zip(*nodes, strict=True)
    chosen = tasks.share(pa.table(dict(zip(("layer", "feature", "role"), map(list, columns), strict=True))))
    rows = found.labels.rows
    sampled = rows.filter(pa.array(rows["sampled"].to_numpy() & rows["discovery"].to_numpy()))
    labels, keys = tasks.share(sampled), tasks.share(sampled["prompt_key"])
    texts = tasks.share(
        pa.concat_tables(tasks.get([tasks.call(_texts, part, keys) for part in parts["graphs"]]))
    )
    tokens = [tasks.call(read_tokens, part, labels, texts, chosen) for part in parts["activations"]]
    targets = [tasks.call(read_targets, part, labels, texts, chosen) for part in parts["edges"]]
    return by_node(tasks.get(tokens)), by_node(tasks.get(targets))


def _texts(part: TablePart, keys: pa.ChunkedArray) -> pa.Table:
    """Return the tokens and the targets' labels of some prompts."""
    rows = part.read(["prompt_key", "tokens", "targets"])
    rows = rows.filter(pa.array(np.isin(rows["prompt_key"].to_numpy(), keys.to_numpy())))
    targets = [[target["label"] for target in listed] for listed in rows["targets"].to_pylist()]
    return rows.drop_columns("targets").append_column("targets", pa.array(targets, pa.list_(pa.string())))


def _supernode_names(circuit: Circuit, named: tuple[Named, Named]) -> list[str]:
    members: dict[int, list] = {}
    for node in circuit.nodes:
        members.setdefault(circuit.supernodes[node], []).append(node)
    return [supernode_name(members[number], *named) for number in sorted(members)]


def _circuit_rows(found: Found, named: tuple[Named, Named]) -> pa.Table:
    rows = []
    for name, circuit in zip(found.names, found.circuits, strict=True):
        chosen = np.isin(found.labels.rows["cluster"].to_numpy(), circuit.mechanism.clusters)
        chosen &= found.labels.rows["discovery"].to_numpy()
        names = _supernode_names(circuit, named)
        rows.append(
            {
                "circuit": name,
                "prompt_group": found.labels.groups[circuit.group],
                "name": "; ".join(names),
                "nodes": len(circuit.nodes),
                "supernodes": len(names),
                "edges": len(circuit.edges),
                "prompts": int(chosen.sum()),
                "clusters": len(circuit.mechanism.clusters),
                "group_clusters": int(found.labels.counts[circuit.group]),
                "share": circuit.into_target,
                "similarity": circuit.mechanism.similarity,
            }
        )
    return _table("circuits", rows)


def _node_rows(found: Found, named: tuple[Named, Named]) -> pa.Table:
    tokens, targets = named
    groups = _groups_of_nodes(found)
    rows = []
    for name, circuit in zip(found.names, found.circuits, strict=True):
        names = _supernode_names(circuit, named)
        for node in circuit.nodes:
            out = (circuit.key[:, :3] == node).all(1)
            supernode = circuit.supernodes[node]
            rows.append(
                {
                    "circuit": name,
                    **_node("", node),
                    "supernode": supernode,
                    "supernode_name": names[supernode],
                    "support": float(circuit.support[out].max()),
                    "share": float(circuit.share[out].sum()),
                    "tokens": strongest(tokens.get(node, {})),
                    "promotes": strongest(targets.get(node, {})),
                    "suppresses": strongest(targets.get(node, {}), -1),
                    "groups": [found.labels.groups[group] for group in sorted(groups[node])],
                }
            )
        rows += [{"circuit": name, **row} for row in target_rows(circuit)]
    return _table("circuit_nodes", rows)


def target_rows(circuit: Circuit) -> list[dict[str, Any]]:
    """Return a row for each target: explained features are at several layers and roles."""
    targets = np.unique(circuit.key[circuit.key[:, 4] == TARGET, 3:], axis=0)
    rows = []
    for target in targets:
        into = (circuit.key[:, 3:] == target).all(1)
        of_target = {
            "supernode": None,
            "supernode_name": "target",
            "support": 1.0 if len(targets) == 1 else float(circuit.support[into].max()),
            "share": float(circuit.share[into].sum()),
        }
        lists = {key: [] for key in ("tokens", "promotes", "suppresses", "groups")}
        rows.append(_node("", target.tolist()) | of_target | lists)
    return rows


def _groups_of_nodes(found: Found) -> dict[tuple[int, int, int], set[int]]:
    """Return the groups in which an edge out of each node recurs."""
    edges = found.recurring
    groups: dict[tuple[int, int, int], set[int]] = {}
    for edge, group in zip(*np.nonzero(found.recurs), strict=True):
        groups.setdefault(tuple(edges.key[edge, :3].tolist()), set()).add(int(group))
    return groups


def _edge_rows(found: Found) -> pa.Table:
    edges, rows = found.recurring, []
    total = int(edges.group_clusters.sum())
    for name, circuit in zip(found.names, found.circuits, strict=True):
        own = int(edges.group_clusters[circuit.group])
        for place, (edge, ends) in enumerate(zip(circuit.edges.tolist(), circuit.key.tolist(), strict=True)):
            at = edge, circuit.group
            source, target = tuple(ends[:3]), tuple(ends[3:])
            held = edges.clusters[edge]
            rows.append(
                {
                    "circuit": name,
                    **_node("source_", source),
                    **_node("target_", target),
                    "source_supernode": circuit.supernodes[source],
                    "target_supernode": circuit.supernodes.get(target),
                    "support": float(circuit.support[place]),
                    "share": float(circuit.share[place]),
                    "sign": int(edges.sign[at]),
                    "sign_consistency": float(edges.consistency[at]),
                    "stability": float(edges.stability[at]),
                    "group_support": held[circuit.group] / own,
                    "other_support": (held.sum() - held[circuit.group]) / max(total - own, 1),
                    "rewired_support": float(edges.rewired[at]),
                    "p_other": float(edges.p_other[at]),
                    "p_rewired": float(edges.p_rewired[at]),
                    "q_value": float(edges.q_value[at]),
                }
            )
    return _table("circuit_edges", rows)


def _node(prefix: str, node: Sequence[int]) -> dict[str, Any]:
    layer, feature, role = node
    return {
        f"{prefix}kind": "logit" if feature == TARGET else "feature",
        f"{prefix}layer": layer,
        f"{prefix}feature": None if feature == TARGET else feature,
        f"{prefix}role": ROLES[role],
    }


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    schema = AGGREGATE_TABLES[name].schema
    return pa.Table.from_pylist(rows, schema.remove(schema.get_field_index("grouped_by")))
