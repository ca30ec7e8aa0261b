"""Checks that need the data: checksums, readability, columns, keys and references.

Tasks of bounded size run side by side: some shards, whose files are held as a whole; a compacted file, read
in blocks; a range of prompts of the compacted files, whose prompts no single file holds. Every file that
counts is read by one of the first two.

A question to the database takes as long for a thousand rows as for ten, so the rows of many shards are asked
about together. Their prompts are disjoint, so that nothing of one can stand for what another lacks; where an
answer finds something, each shard is asked about alone, which says whose it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_128_hexdigest

from pipeline.store.commits import Marker, key_ranges
from pipeline.store.compaction import PROJECTIONS
from pipeline.store.files import DataFile, files_dataset
from pipeline.store.layout import folder_of, marker_name, shard_of
from pipeline.store.verify.commits import effective, problem_of_shard, projection_files
from pipeline.store.verify.files import read_rows, wrong_with
from pipeline.store.verify.inventory import Inventory, State
from pipeline.store.verify.report import CheckedOutput, Problem, Remedy
from pipeline.store.verify.resumption import FoundSound, part_name
from pipeline.store.verify.rows import row_problems

THREADS = 8
"""Tasks at a time: on S3 most of a task is waiting."""

RANGE_BYTES = 8 << 20
"""Bytes of a table's compacted files whose prompts are checked together: about a million edges."""

SHARDS_TOGETHER = 100
"""Most shards that are asked about in one question."""

TOGETHER_BYTES = 4 << 20
"""Bytes of files from which on a question has no more shards: tasks together hold hundreds of megabytes."""

Tables = dict[str, pa.Table]
Problems = list[Problem]
Advance = Callable[[int, int], None]
"""Is told of tasks done, and of how many there are."""


@dataclass(frozen=True)
class Task:
    """Some reading, and the parts that are sound if it finds nothing wrong."""

    names: tuple[str, ...]
    check: Callable[[], Problems]


def check_contents(inventory: Inventory, part: CheckedOutput, advance: Advance, sound: FoundSound) -> None:
    """Read everything but what was found `sound` before, and find what is wrong."""
    tasks = [*_shards(inventory, sound), *_compacted_files(inventory), *_old_files(inventory)]
    part.add(_run(tasks, advance, sound))
    if not any(problem.remedy is Remedy.RESTORE for problem in part.problems):
        part.add(_run(list(_ranges(inventory)), advance, sound))


def check_sizes(inventory: Inventory, part: CheckedOutput) -> None:
    """Look at no data: are files there, and of the size that was written."""
    part.add(_wrong_sizes(inventory))


def _wrong_sizes(inventory: Inventory) -> Iterator[Problem]:
    for marker in inventory.taken:
        for table, file in marker.files.items():
            if inventory.state(table, file.path) in (State.LIVE, State.WAITING) and (
                wrong := _wrong_size(inventory, file)
            ):
                yield problem_of_shard(inventory, marker.shard, file.path, wrong)
    for table, log in inventory.logs.items():
        for path in (path for path in log.live if shard_of(path) is None):
            file = inventory.rewritten.get(path, _unlisted(path, log.live[path]))
            if wrong := _wrong_size(inventory, file):
                yield Problem(path, f"{wrong}, a compacted file of `{table}`", Remedy.RESTORE)
    for name, file in _projections(inventory):
        if wrong := _wrong_size(inventory, file):
            yield Problem(file.path, wrong, Remedy.PROJECTIONS, name)


def _unlisted(path: str, size: int) -> DataFile:
    """Describe a compacted file that no manifest describes, by its table's log."""
    return DataFile(path=path, rows=0, bytes=size, checksum="")


def _wrong_size(inventory: Inventory, file: DataFile) -> str | None:
    size = inventory.size(file.path)
    if size is None:
        return "is missing"
    return None if size == file.bytes else f"has {size:,} bytes instead of {file.bytes:,}"


def _run(tasks: list[Task], advance: Advance, sound: FoundSound) -> Iterator[Problem]:
    left = [task for task in tasks if not all(name in sound for name in task.names)]
    with ThreadPoolExecutor(THREADS, "verify") as pool:
        results = pool.map(lambda task: task.check(), left)
        for done, (task, problems) in enumerate(zip(left, results, strict=True), len(tasks) - len(left) + 1):
            advance(done, len(tasks))
            if not problems:
                sound.add(task.names)
            yield from problems


def _shards(inventory: Inventory, sound: FoundSound) -> Iterator[Task]:
    """Every file of a shard that counts, whatever became of its others.

    After a compaction that published some tables only, a shard's rows lie partly in its own files: these are
    checked one by one, since the whole shard is together in the ranges of compacted files alone.
    """
    whole: list[Marker] = []
    for marker in inventory.taken:
        own = {
            table: file
            for table, file in marker.files.items()
            if inventory.state(table, file.path) in (State.LIVE, State.WAITING)
        }
        if own.keys() == marker.files.keys():
            whole.append(marker)
        else:
            for table, file in own.items():
                yield _file_task(file, _check_own_file, inventory, marker.shard, table, file)
    # Before they are put together, so that a part of an interrupted verification is a shard, not a hundred.
    names = {marker.shard: _shard_name(marker) for marker in whole}
    for markers in _together(marker for marker in whole if names[marker.shard] not in sound):
        named = tuple(names[marker.shard] for marker in markers)
        yield Task(named, partial(_check_shards, inventory, markers))


def _shard_name(marker: Marker) -> str:
    return part_name(f"shard {marker.shard}", marker.files.values(), f"{marker.keys}")


def _file_task(file: DataFile, check: Callable[..., Problems], *arguments: object) -> Task:
    return Task((part_name("file", [file]),), partial(check, *arguments))


def _check_own_file(inventory: Inventory, shard: str, table: str, file: DataFile) -> Problems:
    wrong = wrong_with(inventory.output.folder, file, inventory.output.schemas[table])
    return [problem_of_shard(inventory, shard, file.path, wrong)] if wrong else []


def _together(markers: Iterable[Marker]) -> Iterator[list[Marker]]:
    """Cut shards into parts for one question each."""
    part: list[Marker] = []
    size = 0
    for marker in markers:
        part.append(marker)
        size += sum(marker.bytes.values())
        if len(part) == SHARDS_TOGETHER or size >= TOGETHER_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _check_shards(inventory: Inventory, markers: list[Marker]) -> Problems:
    """Read some shards, and ask about all that can be read at once."""
    problems: Problems = []
    readable: list[tuple[Marker, Tables]] = []
    for marker in markers:
        tables, found = _read_shard(inventory, marker)
        problems += [problem_of_shard(inventory, marker.shard, place, what) for place, what in found]
        if not found:
            readable.append((marker, tables))
    if readable:
        joined = {
            table: pa.concat_tables([tables[table] for _, tables in readable])
            for table in inventory.output.tables
        }
        own = all(_holds_only_its_own(marker, tables) for marker, tables in readable)
        if not own or any(True for _ in row_problems(inventory.output.tables, joined)):
            for marker, tables in readable:
                problems += _check_rows(inventory, marker, tables)
    return problems


def _holds_only_its_own(marker: Marker, tables: Tables) -> bool:
    """Tell if a shard's rows are of its own prompts, in its marker's order where each prompt has one row."""
    first = next(iter(tables))
    for table, rows in tables.items():
        keys = marker.failed_keys if table == "failures" else marker.prompt_keys
        found = rows["prompt_key"].to_numpy()
        if table in (first, "failures"):
            if not np.array_equal(found, np.array(keys, np.int64)):
                return False
        elif not np.isin(found, np.array(keys, np.int64)).all():
            return False
    return True


def _read_shard(inventory: Inventory, marker: Marker) -> tuple[Tables, list[tuple[str, str]]]:
    """Read a shard's files; what is wrong with them comes by their names."""
    output, found, tables = inventory.output, [], {}
    for table, schema in output.schemas.items():
        if table not in marker.files:
            tables[table] = schema.empty_table()
            continue
        rows = read_rows(output.folder, marker.files[table], schema)
        if isinstance(rows, str):
            found.append((marker.files[table].path, rows))
        else:
            tables[table] = rows
    return tables, found


def _check_rows(inventory: Inventory, marker: Marker, tables: Tables) -> Problems:
    """Ask about the rows of one shard."""
    output = inventory.output
    places = {table: file.path for table, file in marker.files.items()}
    wrong = row_problems(output.tables, tables)
    found = [(places.get(table, marker_name(marker.shard)), what) for table, what in wrong]
    first = next(iter(output.tables))
    for table, keys in ((first, marker.prompt_keys), ("failures", marker.failed_keys)):
        if tuple(tables[table]["prompt_key"].to_pylist()) != keys:
            found.append((places.get(table, marker_name(marker.shard)), "has other prompts than its marker"))
    return [problem_of_shard(inventory, marker.shard, place, what) for place, what in found]


def _compacted_files(inventory: Inventory) -> Iterator[Task]:
    schemas = inventory.output.schemas
    for table, log in inventory.logs.items():
        for path in log.live:
            if path in inventory.rewritten:
                file = inventory.rewritten[path]
                yield _file_task(
                    file, partial(_check_file, inventory, file, schemas[table], Remedy.RESTORE, "")
                )
            elif shard_of(path) is None:
                # Without a name: nothing is written down of it by which it could be told again.
                yield Task(("",), partial(_check_unlisted, inventory, path, log.live[path]))
    for name, file in _projections(inventory):
        schema = schemas[PROJECTIONS[folder_of(file.path)].table]
        yield _file_task(file, _check_file, inventory, file, schema, Remedy.PROJECTIONS, name)


def _check_unlisted(inventory: Inventory, path: str, size: int) -> Problems:
    """Check what can be checked of a compacted file whose manifest is gone."""
    wrong = _wrong_size(inventory, _unlisted(path, size))
    return [Problem(path, wrong, Remedy.RESTORE)] if wrong else []


def _projections(inventory: Inventory) -> Iterator[tuple[str, DataFile]]:
    """The projections' files that count, each with the name of its manifest."""
    names = {
        file.path: name
        for name, manifest in inventory.compactions.items()
        if effective(inventory, manifest)
        for files in manifest.projections.values()
        for file in files
    }
    return ((names[file.path], file) for _, file in projection_files(inventory))


def _old_files(inventory: Inventory) -> Iterator[Task]:
    """Files that a compaction replaced: until a vacuum, earlier versions are made of them."""
    schemas = inventory.output.schemas
    for marker in inventory.taken:
        for table, file in marker.files.items():
            if inventory.state(table, file.path) is State.COMPACTED and file.path in inventory.files:
                yield _file_task(
                    file, partial(_check_file, inventory, file, schemas[table], Remedy.VACUUM, "")
                )


def _check_file(
    inventory: Inventory, file: DataFile, schema: pa.Schema, remedy: Remedy, drop: str
) -> Problems:
    wrong = wrong_with(inventory.output.folder, file, schema)
    return [Problem(file.path, wrong, remedy, drop)] if wrong else []


def _ranges(inventory: Inventory) -> Iterator[Task]:
    """The prompts that have rows in compacted files, some at a time."""
    paths = {table: inventory.mixed(table) for table in inventory.logs}
    sizes = [sum(inventory.logs[t].live.get(path, 0) for path in paths[t]) for t in paths]
    if not any(sizes):
        return
    count = -(-max(sizes) // RANGE_BYTES)
    mixed = [marker for marker in inventory.taken if marker.shard in inventory.compacted]
    first = next(iter(inventory.output.tables))
    expected = {
        first: _sorted(key for marker in mixed for key in marker.prompt_keys),
        "failures": _sorted(key for marker in mixed for key in marker.failed_keys),
    }
    described = [inventory.described(path) for several in paths.values() for path in several]
    for low, high in key_ranges(count):
        name = part_name(
            "range",
            described,
            f"{low} {high} {[xxh3_128_hexdigest(keys.tobytes()) for keys in expected.values()]}",
        )
        yield Task((name,), partial(_check_range, inventory, paths, expected, low, high))


def _sorted(keys: Iterator[int]) -> np.ndarray:
    return np.sort(np.fromiter(keys, np.int64))


def _check_range(
    inventory: Inventory, paths: dict[str, list[str]], expected: dict[str, np.ndarray], low: int, high: int
) -> Problems:
    key = pc.field("prompt_key")
    folder, schemas = inventory.output.folder, inventory.output.schemas
    tables = {}
    for table in paths:
        rows = files_dataset(folder, paths[table], schemas[table])
        try:
            tables[table] = rows.to_table(filter=(key >= low) & (key <= high))
        except (pa.ArrowException, OSError) as error:
            return [_unreadable(inventory, table, error)]
    found = [*row_problems(inventory.output.tables, tables)]
    for table, keys in expected.items():
        here = keys[np.searchsorted(keys, low) : np.searchsorted(keys, high, side="right")]
        if not np.array_equal(np.sort(tables[table]["prompt_key"].to_numpy()), here):
            found.append((table, "has other prompts in compacted files than its shards' markers name"))
    return [Problem(table, what, Remedy.RESTORE) for table, what in found]


def _unreadable(inventory: Inventory, table: str, error: Exception) -> Problem:
    """Say that rows cannot be read.

    Raises:
        StoreError: the store does not answer, which says nothing about the rows.

    """
    missing = [path for path in inventory.mixed(table) if not inventory.output.folder.exists(path)]
    if missing:
        return Problem(missing[0], "is missing", Remedy.RESTORE)
    return Problem(table, f"has rows in compacted files that cannot be read: {error}", Remedy.RESTORE)
