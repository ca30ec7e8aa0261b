"""Circuits laid over the prompts of a sweep, whether they were found in it or are known from another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.aggregates import Groups
from pipeline.circuits.finding import TARGET, Calls, read_support
from pipeline.circuits.labels import Labels, label, read_roles, role_columns
from pipeline.circuits.roles import ROLES
from pipeline.store import AggregateResult, CircuitsInfo, DataFile, TablePart


def read_labels(graphs: Sequence[TablePart], groups: Groups, subject: str | None, tasks: Calls) -> Labels:
    """Return what is known of the prompts, with the roles of their positions.

    Args:
        graphs: parts of `graphs`.
        groups: the prompts with groups and clusters.
        subject: column that names the words of the subject.
        tasks: way to call what reads parts.

    """
    roles = tasks.get([tasks.call(_read_part_roles, part, subject) for part in graphs])
    return label(groups, pa.concat_tables(roles))


def write_support(
    result: AggregateResult, parts: Sequence[TablePart], labels: Labels, circuit_edges: pa.Table, tasks: Calls
) -> list[DataFile]:
    """Write which prompts use which circuit.

    Args:
        result: is written to.
        parts: of `edges`.
        labels: of the prompts.
        circuit_edges: rows of `circuit_edges`.
        tasks: way to call what reads parts.

    """
    rows, edges, names = (
        tasks.share(table) for table in (labels.rows, numbered(circuit_edges), _group_names(labels))
    )
    return tasks.get(
        [
            tasks.call(_write_part_support, result, number, part, rows, edges, names)
            for number, part in enumerate(parts)
        ]
    )


def circuits_info(groups: Groups, labels: Labels, tested_edges: int, recurring_edges: int) -> CircuitsInfo:
    """Return the prompts of each group and the clusters of its halves, with two counts of edges."""
    total = np.bincount(labels.clusters.group, minlength=len(labels.groups))
    return CircuitsInfo(
        groups=groups.sizes,
        discovery_clusters=dict(zip(labels.groups, labels.counts.tolist(), strict=True)),
        test_clusters=dict(zip(labels.groups, (total - labels.counts).tolist(), strict=True)),
        left_out=groups.left_out,
        tested_edges=tested_edges,
        recurring_edges=recurring_edges,
    )


def numbered(circuit_edges: pa.Table) -> pa.Table:
    """Return the circuits' edges as their key's numbers, to be joined to those of prompts."""
    columns: dict[str, Any] = {"circuit": circuit_edges["circuit"], "edge_share": circuit_edges["share"]}
    for end in ("source", "target"):
        columns[f"{end}_layer"] = circuit_edges[f"{end}_layer"]
        columns[f"{end}_feature"] = pc.fill_null(circuit_edges[f"{end}_feature"], TARGET)
        roles = [ROLES.index(role) for role in circuit_edges[f"{end}_role"].to_pylist()]
        columns[f"{end}_role"] = pa.array(roles, pa.int8())
    return pa.table(columns)


def _read_part_roles(part: TablePart, subject: str | None) -> pa.Table:
    return read_roles(part.read(role_columns(subject)), subject)


def _write_part_support(
    result: AggregateResult, number: int, part: TablePart, labels: pa.Table, edges: pa.Table, names: pa.Table
) -> DataFile:
    return result.write("circuit_support", read_support(part, labels, edges, names), number)


def _group_names(labels: Labels) -> pa.Table:
    """Return the numbers and names of the groups."""
    names = labels.groups
    return pa.table({"grp": np.arange(len(names), dtype=np.int32), "name": pa.array(names, pa.string())})
