"""Circuits that another sweep was searched for, laid over this one's prompts: which of them each prompt uses.

Nothing is looked for anew. Circuits, their nodes and edges are copied beside this sweep's tables, and
`circuit_support` says by its graphs which prompts use which; a prompt that uses none is not explained by what
is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from xxhash import xxh3_128_hexdigest

from pipeline.aggregates import Aggregate, Computed, Grouping, read_groups, run_aggregate
from pipeline.circuits.finding import Calls
from pipeline.circuits.labels import check_columns
from pipeline.circuits.settings import Settings
from pipeline.circuits.use import circuits_info, read_labels, write_support
from pipeline.errors import ConfigurationError
from pipeline.results import Results
from pipeline.store import AggregateResult, Output, Snapshot, table_parts

COPIED = ("circuits", "circuit_nodes", "circuit_edges")


@dataclass(frozen=True)
class KnownCircuits(Aggregate):
    """Circuits of another sweep's result over the prompts of this one."""

    circuits: dict[str, pa.Table] = field(default_factory=dict)
    """The tables that are copied."""

    subject: str | None = None
    """Column with the words whose positions have the role `subject`."""

    @property
    def name(self) -> str:
        """Beginning of the result's name."""
        return "known_circuits"

    def identity(self) -> dict[str, Any]:
        """Return what changes the result."""
        edges = self.circuits["circuit_edges"].drop_columns("grouped_by")  # which copies do not share
        content = xxh3_128_hexdigest(repr(edges.to_pylist()).encode())
        return self.grouping.identity | {"circuits": content, "subject": self.subject}

    def compute(self, snapshot: Snapshot, result: AggregateResult, tasks: Calls) -> Computed:
        """Read which prompts use which circuit, part by part."""
        check_columns(snapshot, Settings(subject=self.subject))
        groups = read_groups(snapshot, self.grouping)
        parts = {table: list(table_parts(snapshot, table, self.part_bytes)) for table in ("graphs", "edges")}
        labels = read_labels(parts["graphs"], groups, self.subject, tasks)
        edges = self.circuits["circuit_edges"]
        files = {
            name: [result.write(name, self.circuits[name].drop_columns("grouped_by"), 0)] for name in COPIED
        }
        files["circuit_support"] = write_support(result, parts["edges"], labels, edges, tasks)
        return files, circuits_info(groups, labels, 0, edges.num_rows)


def find_known(
    url: str, known: str, grouping: Grouping, subject: str | None, address: str | None = None
) -> AggregateResult:
    """See which prompts of a sweep use circuits that are known from another.

    Args:
        url: output of the sweep.
        known: output of the sweep that `discover` ran on.
        grouping: groups of the prompts to sum up by.
        subject: column of this sweep with the words of the subject.
        address: Ray cluster to join; None for `RAY_ADDRESS`, or else a Ray on this machine.

    Raises:
        CircuitSweepError: there are no circuits, they need a subject and none is given, the sweeps used
            different dictionaries, or the result cannot be written.

    """
    ours, theirs = (Output(one).claimed().run for one in (url, known))
    for kind in ("model", "transcoders"):
        one, other = (
            {key: value for key, value in run[kind].items() if key != "name"} for run in (ours, theirs)
        )
        if one != other:
            raise ConfigurationError(
                f"--known {known}: its sweep used {kind} {theirs[kind]['name']!r}, this one "
                f"{ours[kind]['name']!r}, and features of different ones are not the same: use one "
                f"sweep's, or "
                "`circuit-sweep diff` to match them."
            )
    results = Results(known)
    if missing := [name for name in COPIED if name not in results.tables]:
        raise ConfigurationError(
            f"--known {known}: there are no {missing[0]} yet: run `circuit-sweep discover {known} --by "
            f"COLUMN`."
        )
    tables = {name: results.dataset(name).to_table() for name in COPIED}
    check_subject(known, tables["circuit_nodes"], subject)
    return run_aggregate(url, KnownCircuits(grouping, circuits=tables, subject=subject), address)


def check_subject(known: str, nodes: pa.Table, subject: str | None) -> None:
    """Refuse circuits with the role `subject` where no column says which positions have it."""
    roles = nodes["role"].to_pylist()
    if subject is None and "subject" in roles:
        raise ConfigurationError(
            f"--known {known}: {roles.count('subject')} nodes of its circuits have the role 'subject', which "
            "no position of this sweep has without --subject: give --subject COLUMN, the column of this "
            "sweep with the words of the subject."
        )
