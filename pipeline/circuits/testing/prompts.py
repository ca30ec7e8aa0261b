"""The prompts of the test half, and the circuits that each is run for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.circuits.labels import Labels, read_roles, role_columns
from pipeline.circuits.settings import Settings
from pipeline.store import Output, Snapshot
from pipeline.validation import StoredGraph, StoredGraphs


@dataclass(slots=True, kw_only=True)
class TestPrompt(StoredGraph):
    """A prompt of the test half."""

    __test__ = False  # pytest takes it for a test by its name

    roles: tuple[int, ...] = ()
    """Number of each position's role."""

    own: tuple[str, ...] = ()
    """Circuits of its group that it is tested for."""

    others: tuple[str, ...] = ()
    """Circuits of other groups that must leave it alone."""


@dataclass(frozen=True)
class TestPrompts:
    """The prompts that are tested; those of one of the sweep's shards are a group."""

    __test__ = False

    source: Output
    """The sweep's output."""

    roles: dict[int, tuple[int, ...]]
    """Roles of the positions, by prompt."""

    own: dict[int, list[str]] = field(default_factory=dict)
    others: dict[int, list[str]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[TestPrompt]:
        """Yield them shard by shard, without reading a row."""
        for marker in self.source.committed():
            files = {table: file.path for table, file in marker.files.items()}
            for key in marker.prompt_keys:
                if key in self.roles:
                    yield TestPrompt(
                        key=key,
                        id=str(key),
                        group=marker.shard,
                        files=files,
                        roles=self.roles[key],
                        own=tuple(self.own.get(key, ())),
                        others=tuple(self.others.get(key, ())),
                    )

    def complete(self, prompts: Sequence[TestPrompt]) -> list[TestPrompt]:
        """Read id, text and tokens of some prompts of one group."""
        return StoredGraphs(self.source, 0, 1.0).complete(prompts)


def choose_prompts(
    source: Output,
    snapshot: Snapshot,
    labels: Labels,
    circuits: pa.Table,
    support: pa.Table,
    settings: Settings,
) -> TestPrompts:
    """Choose the prompts that each circuit is tested on.

    A prompt of the group is tested for the group's circuit that its graph holds most of, since several are
    different mechanisms; for the most frequent one where it holds none. Of more prompts than are to be tested
    those with the smallest keys count, which are hashes.

    Args:
        source: the sweep's output.
        snapshot: its state.
        labels: of all prompts.
        circuits: rows of `circuits`.
        support: rows of `circuit_support` of the test half.
        settings: the rules.

    """
    rows = labels.rows.filter(pc.invert(labels.rows["discovery"])).sort_by("prompt_key")
    keys, group = rows["prompt_key"].to_numpy(), rows["grp"].to_numpy()
    by_group: dict[str, list[str]] = {}
    for row in circuits.sort_by("circuit").sort_by([("clusters", "descending")]).to_pylist():
        by_group.setdefault(row["prompt_group"], []).append(row["circuit"])
    best: dict[int, tuple[float, str]] = {}
    for row in support.to_pylist():
        if row["circuit"] in by_group.get(row["prompt_group"], ()):
            found = (row["overlap"], row["circuit"])
            best[row["prompt_key"]] = max(best.get(row["prompt_key"], found), found, key=lambda one: one[0])
    own: dict[int, list[str]] = {}
    others: dict[int, list[str]] = {}
    for name, names in by_group.items():
        number = labels.groups.index(name)
        mine, rest = keys[group == number].tolist(), keys[group != number].tolist()
        assigned = [(key, best[key][1] if key in best else names[0]) for key in mine]
        for circuit in names:
            for key in [key for key, to in assigned if to == circuit][: settings.prompts]:
                own.setdefault(key, []).append(circuit)
            for key in rest[: settings.prompts]:
                others.setdefault(key, []).append(circuit)
    chosen = np.array(sorted({*own, *others}), np.int64)
    graphs = snapshot.dataset("graphs").to_table(
        columns=role_columns(settings.subject), filter=pc.field("prompt_key").isin(chosen)
    )
    roles = read_roles(graphs, settings.subject)
    by_key = zip(roles["prompt_key"].to_pylist(), map(tuple, roles["roles"].to_pylist()), strict=True)
    return TestPrompts(source, dict(by_key), own, others)
