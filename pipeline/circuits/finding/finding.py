"""From a sweep's edges to circuits, a part at a time.

1. A task for each part sums its edges between roles, cut into partitions of these edges (`sums`).
2. A task for each partition merges all parts' sums; what is left are the edges that many clusters hold and
   that carry influence, some hundreds for a group however many prompts there are. They are tested together
   (`recurrence`).
3. A task for each part reads what the recurring edges carry in a sample of each group's clusters; groups fall
   into mechanisms (`mechanisms`), each grows its subgraph (`growth`), whose features fall into supernodes
   (`supernodes`).
4. Tasks for each part read what names them (`naming`), and which prompts use which (`support`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from pipeline.circuits.finding.growth import grow
from pipeline.circuits.finding.mechanisms import Mechanism, read_flows, split_group
from pipeline.circuits.finding.recurrence import Recurring, merge, recurring, totals
from pipeline.circuits.finding.sums import ENDS, TARGET, Part, sum_edges
from pipeline.circuits.finding.supernodes import supernodes
from pipeline.circuits.labels import Labels
from pipeline.circuits.settings import Settings
from pipeline.errors import ConfigurationError

Node = tuple[int, int, int]
"""Layer, feature (`TARGET` for the target), number of the role."""


class Calls(Protocol):
    """Way to call functions, here or elsewhere, as `aggregates.tasks.Tasks`."""

    def share(self, value: Any) -> Any:
        """Put a value where calls can read it."""

    def call(self, function: Any, *arguments: Any) -> Any:
        """Start a call."""

    def call_for(self, count: int, function: Any, *arguments: Any) -> list[Any]:
        """Start a call that returns `count` values."""

    def get(self, results: Any) -> Any:
        """Return what calls returned."""


class CallsHere:
    """Calls in this process, one after the other."""

    def share(self, value: Any) -> Any:
        """Return the value."""
        return value

    def call(self, function: Any, *arguments: Any) -> Any:
        """Call the function."""
        return function(*arguments)

    def call_for(self, count: int, function: Any, *arguments: Any) -> list[Any]:
        """Call the function."""
        return list(function(*arguments))

    def get(self, results: Any) -> Any:
        """Return the results."""
        return results


@dataclass(frozen=True)
class Circuit:
    """One circuit of a group. k edges."""

    group: int
    """Number of the group."""

    number: int
    """From 1, the mechanism of most clusters first."""

    edges: Int[np.ndarray, " k"]
    """Numbers of its edges among those that were tested."""

    key: Int[np.ndarray, "k 6"]
    share: Float[np.ndarray, " k"]
    """Share of the target's influence over each, mean over the mechanism's clusters."""

    support: Float[np.ndarray, " k"]
    mechanism: Mechanism
    supernodes: dict[Node, int]

    @property
    def nodes(self) -> list[Node]:
        """Its features at roles, those of lower supernodes first."""
        return sorted(self.supernodes, key=lambda node: (self.supernodes[node], node))

    @property
    def into_target(self) -> float:
        """Share of the target's influence that comes in over its edges."""
        return float(self.share[self.key[:, 4] == TARGET].sum())


@dataclass(frozen=True)
class Found:
    """What was found in a sweep."""

    labels: Labels
    recurring: Recurring
    """The edges that were tested."""

    recurs: Bool[np.ndarray, "E G"]
    """Which of them recur in which group."""

    circuits: tuple[Circuit, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each circuit: its group and its number there."""
        return tuple(f"{self.labels.groups[one.group]}#{one.number}" for one in self.circuits)


def find(
    parts: Sequence[Part], labels: Labels, settings: Settings, calls: Calls, partitions: int = 1
) -> Found:
    """Find the circuits of each group.

    Args:
        parts: of `edges`.
        labels: of the prompts.
        settings: the rules.
        calls: way to call what reads parts.
        partitions: of the edges, that sums are merged in.

    Raises:
        ConfigurationError: there is one group only.

    """
    if len(labels.groups) < 2:
        raise ConfigurationError(
            f"all prompts are in one group, {labels.groups[0]!r}: a circuit is what sets a group apart from "
            "others. Group by a column with several values, or by an expression such as "
            "\"family = 'capital'\"."
        )
    shared = calls.share(labels.rows)
    sums = [
        calls.call_for(partitions + 1, sum_edges, part, shared, partitions, settings.min_share)
        for part in parts
    ]
    sizes = calls.share(_cluster_sizes(labels))
    merged = [
        calls.call(merge, sizes, settings.min_support, *(of_part[n] for of_part in sums))
        for n in range(partitions)
    ]
    of_all = totals(calls.get([of_part[-1] for of_part in sums]))
    edges = recurring(pa.concat_tables(calls.get(merged)), of_all, labels.counts)
    recurs = edges.found(settings.fdr)
    chosen, numbers = _chosen(edges, recurs)
    if not chosen.num_rows:
        return Found(labels, edges, recurs, ())
    flows = pa.concat_tables(calls.get([calls.call(read_flows, part, shared, chosen) for part in parts]))
    of_group = flows["grp"].to_numpy()
    circuits: list[Circuit] = []
    for group, mine in numbers.items():
        mechanisms = split_group(flows.filter(pa.array(of_group == group)), len(mine), settings.min_support)
        grown = [_circuit(group, edges, mine, mechanism) for mechanism in mechanisms]
        grown = [circuit for circuit in grown if len(circuit.edges)]
        circuits += [replace(circuit, number=number) for number, circuit in enumerate(grown, 1)]
    return Found(labels, edges, recurs, tuple(circuits))


def _cluster_sizes(labels: Labels) -> pa.Table:
    clusters = labels.clusters
    columns = {
        "cluster": np.arange(len(clusters.group)),
        "size": clusters.size,
        "grp": clusters.group.astype(np.int32),
    }
    return pa.table(columns)


def _chosen(edges: Recurring, found: np.ndarray) -> tuple[pa.Table, dict[int, Int[np.ndarray, " e"]]]:
    """Return the recurring edges with their number in their group, and these by group."""
    numbers = {
        group: np.flatnonzero(found[:, group]) for group in range(found.shape[1]) if found[:, group].any()
    }
    rows = np.concatenate([np.zeros(0, int), *numbers.values()])
    columns = {
        f"{end}_{name}": edges.key[rows, 3 * i + j]
        for i, end in enumerate(("source", "target"))
        for j, name in enumerate(ENDS)
    }
    sizes = [len(mine) for mine in numbers.values()]
    columns["grp"] = np.repeat(np.array(list(numbers), np.int32), sizes)
    columns["edge"] = np.concatenate([np.zeros(0, int), *(np.arange(size) for size in sizes)])
    return pa.table(columns), numbers


def _circuit(group: int, edges: Recurring, mine: Int[np.ndarray, " e"], mechanism: Mechanism) -> Circuit:
    key = edges.key[mine]
    taken = grow(key, mechanism.share)
    share = mechanism.share[taken]
    signed = share * edges.sign[mine[taken], group]
    return Circuit(
        group,
        0,
        mine[taken],
        key[taken],
        share,
        mechanism.support[taken],
        mechanism,
        supernodes(key[taken], signed) if len(taken) else {},
    )
