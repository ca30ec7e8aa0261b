"""Taking away what is damaged, so that it can be made again: shards, projections, aggregates.

It holds both leases, so that neither a run nor a compaction changes what it has looked at. All tables are
looked at before the first is changed: a shard of whose files one is published and no longer live lies in a
compacted file, and would count twice once it was traced again; then nothing is taken away.

A shard's rows leave the published tables first and its marker goes last. A repair that dies on the way leaves
a marker whose files were withdrawn, which the next verification finds and the next repair finishes; the
other way round the shard might be traced while its old rows still count. A shard whose rows a compaction has
mixed with others' is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager

from pipeline.errors import StoreError
from pipeline.store.delta import mixed_shards, replace_files, show_last_version
from pipeline.store.layout import marker_name, shard_of
from pipeline.store.output import Output
from pipeline.store.verify.checks import aggregate_parts, name_of, verify_output
from pipeline.store.verify.contents import Advance
from pipeline.store.verify.report import CheckedOutput, Remedy


def repair(url: str, quick: bool = False, advance: Advance = lambda done, tasks: None) -> list[str]:
    """Take damaged shards back and delete damaged manifests; return what was taken away.

    It looks for itself, because what another driver was doing may have looked like damage.

    Raises:
        StoreError: a driver or a compaction is at work, a table changed meanwhile, or the output cannot be
            written.

    """
    sweep = Output(url)
    with _alone(sweep) as confirm:
        removed = _repair(sweep, verify_output(name_of(sweep), sweep, quick, advance), confirm)
        for part in aggregate_parts(sweep, quick):
            removed += _repair(sweep, part, confirm)
    for name, output in sweep.inner().items():
        with _alone(output) as confirm:
            removed += _repair(output, verify_output(name, output, quick, advance), confirm)
    return removed


@contextmanager
def _alone(output: Output) -> Iterator[Callable[[], None]]:
    """Keep drivers and compactions out; yields what raises if they came in all the same, during a sleep."""
    with output.hold() as driver, output.hold_upkeep() as upkeep:

        def confirm() -> None:
            driver.confirm()
            upkeep.confirm()

        yield confirm


def _repair(output: Output, part: CheckedOutput, confirm: Callable[[], None]) -> list[str]:
    shards = {problem.drop for problem in part.problems if problem.remedy is Remedy.REDO}
    manifests = {
        problem.drop for problem in part.problems if problem.remedy in (Remedy.PROJECTIONS, Remedy.AGGREGATE)
    }
    if not shards and not manifests:
        return []
    for table, paths in _live_files(output, shards).items():
        confirm()
        _withdraw(output, table, paths)
    confirm()
    taken = sorted({*map(marker_name, shards), *manifests})
    output.folder.delete([name for name in taken if output.folder.exists(name)])
    return taken


def _live_files(output: Output, shards: Set[str]) -> Mapping[str, Sequence[str]]:
    """Find the files in which each table holds the rows of some shards.

    Raises:
        StoreError: rows of theirs are in compacted files, from which nobody can take them.

    """
    if not shards:
        return {}
    logs = output.stored.logs()
    if mixed := shards & mixed_shards(logs.values()):
        raise StoreError(
            f"{output.url} was compacted during the repair, with the rows of shard {min(mixed)}: nothing was "
            "taken away. Verify again."
        )
    return {table: [path for path in log.live if shard_of(path) in shards] for table, log in logs.items()}


def _withdraw(output: Output, table: str, paths: Sequence[str]) -> None:
    if paths and not replace_files(output.folder, table, paths, (), "DELETE", changes_rows=True):
        raise StoreError(
            f"`{table}` of {output.url} was published by another process during the repair: verify again."
        )
    show_last_version(output.folder, table)
