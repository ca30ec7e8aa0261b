"""Checks without reading data: markers, logs, manifests and the listing against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pipeline.store.commits import (
    Marker,
    published_shards,
    shard_id,
)
from pipeline.store.compaction import Manifest, projections_of
from pipeline.store.delta import plain_changes
from pipeline.store.files import DataFile
from pipeline.store.layout import compaction_of, marker_name, shard_of, unfinished_marker
from pipeline.store.verify.inventory import Inventory, State
from pipeline.store.verify.report import CheckedOutput, Problem, Remedy


def check_commits(inventory: Inventory, part: CheckedOutput) -> None:
    """Find what is wrong with an output's bookkeeping, and count what there is."""
    part.shards = len(inventory.taken)
    for problems in (_markers, _logs, _compactions):
        part.add(problems(inventory))
    _count(inventory, part)
    _note(inventory, part)
    part.orphans += _orphans(inventory)


def problem_of_shard(inventory: Inventory, shard: str, place: str, what: str) -> Problem:
    """Something wrong with a shard: it can be done again unless its rows were mixed with others'."""
    redo = shard not in inventory.compacted
    return Problem(place, what, Remedy.REDO if redo else Remedy.RESTORE, shard if redo else "")


def effective(inventory: Inventory, manifest: Manifest) -> list[str]:
    """The tables that hold a compaction's files now."""
    tables = manifest.tables.items()
    return [table for table, part in tables if inventory.logs[table].live.keys() >= set(part.paths)]


def _markers(inventory: Inventory) -> Iterator[Problem]:
    for shard in sorted(inventory.damaged):
        what = "is no marker that can be read"
        yield problem_of_shard(inventory, shard, marker_name(shard), what)
    run_key = inventory.output.claimed().run_key
    first = next(iter(inventory.output.tables))
    complete = published_shards([inventory.logs[first]])
    for marker in inventory.taken:
        for what in _wrong_in(marker, run_key, first, inventory):
            yield problem_of_shard(inventory, marker.shard, marker_name(marker.shard), what)
        for table, file in marker.files.items():
            if marker.shard in complete and inventory.state(table, file.path) is State.WAITING:
                what = f"was published in `{first}` and not in `{table}`, so that readers miss its rows"
                yield Problem(file.path, what, Remedy.RUN)


def _wrong_in(marker: Marker, run_key: int, first: str, inventory: Inventory) -> Iterator[str]:
    keys = Counter([*marker.prompt_keys, *marker.failed_keys])
    if repeated := [key for key, count in keys.items() if count > 1]:
        yield f"names {len(repeated)} prompts twice, such as {repeated[0]}"
    elif shard_id(marker.named_by, run_key) != marker.shard:
        yield "holds prompts that do not give its shard's name"
    elif not keys.keys() >= set(marker.named_by):
        yield "names items that have no row"
    for table, named in ((first, marker.prompt_keys), ("failures", marker.failed_keys)):
        rows = marker.rows.get(table, 0)
        if rows != len(named):
            yield f"names {len(named):,} prompts and {rows:,} rows of `{table}`"
    for table, file in marker.files.items():
        if table not in inventory.logs or shard_of(file.path) != marker.shard:
            yield f"names {file.path}, which is not a file of this shard"
        elif inventory.state(table, file.path) is State.WITHDRAWN:
            yield f"names {file.path}, which was withdrawn: a repair was interrupted"


def _logs(inventory: Inventory) -> Iterator[Problem]:
    markers = {marker.shard: marker for marker in inventory.markers.values() if marker is not None}
    for table, log in inventory.logs.items():
        for path in sorted(log.published):
            shard = shard_of(path)
            if shard is None or shard in inventory.damaged:
                continue
            marker = markers.get(shard)
            if marker is None:
                what = "is gone, but the shard's rows are published: they would be traced and counted twice"
                yield problem_of_shard(inventory, shard, marker_name(shard), what)
            elif table not in marker.files or marker.files[table].path != path:
                yield problem_of_shard(
                    inventory, shard, path, "is published, but its shard's marker names another"
                )
            elif log.live.get(path, marker.files[table].bytes) != marker.files[table].bytes:
                yield problem_of_shard(inventory, shard, path, "has another size in its table's Delta log")


def _compactions(inventory: Inventory) -> Iterator[Problem]:
    for name, manifest in inventory.manifests.items():
        if manifest is None:
            yield Problem(name, "is no manifest that can be read", Remedy.PROJECTIONS, name)
            continue
        for table in effective(inventory, manifest):
            rows = sum(file.rows for file in manifest.tables[table].files)
            for projection in projections_of(table):
                projected = sum(file.rows for file in manifest.projections.get(projection.name, ()))
                if projected != rows:
                    what = (
                        f"says that `{projection.name}` has {projected:,} rows of the {rows:,} of `{table}`"
                    )
                    yield Problem(name, what, Remedy.PROJECTIONS, name)
    yield from _row_sums(inventory)


def _row_sums(inventory: Inventory) -> Iterator[Problem]:
    """Compacted files must hold as many rows as the markers of the shards that went into them say."""
    for table, log in inventory.logs.items():
        files = [path for path in log.live if shard_of(path) is None]
        if not all(path in inventory.rewritten for path in files):
            continue
        found = sum(inventory.rewritten[path].rows for path in files)
        expected = sum(
            file.rows
            for marker in inventory.taken
            if (file := marker.files.get(table)) and inventory.state(table, file.path) is State.COMPACTED
        )
        if found != expected and not inventory.compacted & inventory.damaged:
            what = f"has {found:,} rows in compacted files where markers say {expected:,}"
            yield Problem(table, what, Remedy.RESTORE)


def _count(inventory: Inventory, part: CheckedOutput) -> None:
    for table, log in inventory.logs.items():
        for path, size in log.live.items():
            if shard_of(path) is None:
                rows = inventory.rewritten[path].rows if path in inventory.rewritten else 0
                part.count(table, rows, size)
        for marker in inventory.taken:
            file = marker.files.get(table)
            if file and inventory.state(table, file.path) in (State.LIVE, State.WAITING):
                part.count(table, file.rows, file.bytes)
    for projection, file in projection_files(inventory):
        part.count(projection, file.rows, file.bytes)


def projection_files(inventory: Inventory) -> Iterator[tuple[str, DataFile]]:
    """The projections' files that count, each with its projection's name."""
    for manifest in inventory.compactions.values():
        for table in effective(inventory, manifest):
            for projection in projections_of(table):
                yield from ((projection.name, file) for file in manifest.projections.get(projection.name, ()))


def _note(inventory: Inventory, part: CheckedOutput) -> None:
    waiting = sum(
        any(inventory.state(table, file.path) is State.WAITING for table, file in marker.files.items())
        for marker in inventory.taken
    )
    if waiting:
        part.notes.append(f"{waiting:,} shards are not published yet: the end of a run does that")
    if inventory.dropped:
        part.notes.append(
            f"{len(inventory.dropped):,} shards cover prompts that others cover too and do not count: the "
            "end of a run deletes them"
        )
    nameless = sum(
        shard_of(path) is None and path not in inventory.rewritten
        for log in inventory.logs.values()
        for path in log.live
    )
    if nameless:
        part.notes.append(
            f"{nameless:,} compacted files have no manifest, so their checksums are not known and they have "
            "no projections: `compact --all` writes them again"
        )
    if behind := sum(_behind(inventory, table) for table in inventory.logs):
        part.notes.append(
            f"{behind:,} files in the tables' folders are not what the last version holds, so that readers "
            "which know no Delta log miss rows or see old ones: the end of a run and `compact` put it right"
        )
    if left := _left_by_compactions(inventory):
        part.notes.append(
            f"{len(left):,} files are of a compaction that is at work or died: a later one deletes them"
        )


def _behind(inventory: Inventory, table: str) -> int:
    found = {name: size for name, size in inventory.files.items() if name.rpartition("/")[0] == table}
    gone, new = plain_changes(inventory.logs[table], found)
    return len({*gone, *new})


def _left_by_compactions(inventory: Inventory) -> list[str]:
    added = {path for log in inventory.logs.values() for path in log.added}
    published = {id for path in added if (id := compaction_of(path))}
    made = ((name, compaction_of(name)) for name in inventory.files)
    return [name for name, id in made if id is not None and id not in published]


def _orphans(inventory: Inventory) -> list[str]:
    named = {path for log in inventory.logs.values() for path in log.added}
    named |= {f.path for m in inventory.markers.values() if m is not None for f in m.files.values()}
    shards = ((name, shard_of(name)) for name in inventory.files if name not in named)
    return sorted(
        name
        for name, shard in shards
        if (shard and shard not in inventory.damaged) or unfinished_marker(name)
    )
