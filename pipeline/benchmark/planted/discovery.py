"""`circuit-sweep discover` on prompts that were traced here: the same functions over rows in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import md5

import pyarrow as pa

from pipeline.aggregates import Groups
from pipeline.circuits import TARGET, CallsHere, Settings, find, label, read_roles
from pipeline.graph import AttributionGraph, PrunedGraph, Stability
from pipeline.store.rows import TracedPrompt, graph_tables

End = tuple[int, int]
"""Layer and neuron."""


@dataclass(frozen=True)
class PromptRows:
    """One prompt's rows of `graphs` and `edges`."""

    graphs: pa.Table
    edges: pa.Table

    @classmethod
    def of(cls, graph: AttributionGraph, pruned: PrunedGraph, stability: Stability) -> PromptRows:
        """Make the rows that a sweep would write."""
        scores = ("replacement_score", "completeness_score", "unexpanded_influence", "dropped_share")
        unused = dict.fromkeys((*scores, "constants_share", "pruning_seconds"), 0.0)
        traced = TracedPrompt(0, "", 0, graph, pruned, stability, opened_by=1, **unused)
        tables = graph_tables(traced)
        return cls(tables["graphs"], tables["edges"])

    @property
    def prediction(self) -> str:
        """The model's likeliest next token."""
        return self.graphs["prediction"][0].as_py()


@dataclass(frozen=True)
class _Rows:
    """Rows in memory as a part of a table."""

    rows: pa.Table

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Return the rows."""
        return self.rows if columns is None else self.rows.select(columns)


def discovered(
    prompts: Sequence[PromptRows], labels: Sequence[str], target: End, settings: Settings | None = None
) -> dict[str, tuple[set[End], set[tuple[End, End]]]]:
    """Find the circuits of labelled prompts, each a cluster of its own; of a group their union.

    Args:
        prompts: rows of each.
        labels: group of each.
        target: name of what is explained, as an edge's end.
        settings: the rules (default: those of the command).

    """
    graphs, edges = (
        pa.concat_tables([_keyed(getattr(one, name), key) for key, one in enumerate(prompts)])
        for name in ("graphs", "edges")
    )
    groups = _groups(labels)
    found = find(
        [_Rows(edges)],
        label(groups, read_roles(graphs, None), everything=True),
        settings or Settings(),
        CallsHere(),
    )
    circuits: dict[str, tuple[set[End], set[tuple[End, End]]]] = {}
    for circuit in found.circuits:
        nodes, ends = circuits.setdefault(found.labels.groups[circuit.group], (set(), set()))
        nodes.update((layer, feature) for layer, feature, _ in circuit.nodes)
        for layer, feature, _, to_layer, to_feature, _ in circuit.key.tolist():
            ends.add(((layer, feature), target if to_feature == TARGET else (to_layer, to_feature)))
    return circuits


def _keyed(rows: pa.Table, key: int) -> pa.Table:
    index = rows.column_names.index("prompt_key")
    return rows.set_column(index, "prompt_key", pa.array([key] * rows.num_rows, pa.int64()))


def _groups(labels: Sequence[str]) -> Groups:
    numbers = pa.array(range(len(labels)), pa.int64())
    columns = {
        "prompt_key": numbers,
        "prompt_group": pa.array(labels, pa.string()),
        "cluster": numbers,
        "cluster_hash": [md5(str(number).encode()).hexdigest() for number in range(len(labels))],
        "stratum": [""] * len(labels),
    }
    return Groups(pa.table(columns), 0)
