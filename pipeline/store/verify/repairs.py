"""Taking away what is damaged, so that it can be made again: shards, projections, aggregates.

A shard's rows leave the published tables first and its marker goes last. A repair that dies on the way leaves
a marker whose files were withdrawn, which the next verification finds and the next repair finishes; the
other way round the shard might be traced while its old rows still count. A shard whose rows a compaction has
mixed with others' is left alone.
"""

from __future__ import annotations

from collections.abc import Set

from pipeline.errors import StoreError
from pipeline.store.delta import read_log, replace_files, show_last_version
from pipeline.store.layout import marker_name, shard_of
from pipeline.store.output import Output
from pipeline.store.verify.checks import aggregate_parts, name_of, verify_output
from pipeline.store.verify.contents import Advance
from pipeline.store.verify.report import CheckedOutput, Remedy


def repair(url: str, quick: bool = False, advance: Advance = lambda done, tasks: None) -> list[str]:
    """Take damaged shards back and delete damaged manifests; return what was taken away.

    It looks for itself, because what another driver was doing may have looked like damage.

    Raises:
        StoreError: a driver is at work, a table changed meanwhile, or the output cannot be written.

    """
    sweep = Output(url)
    with sweep.hold():
        removed = _repair(sweep, verify_output(name_of(sweep), sweep, quick, advance))
        for part in aggregate_parts(sweep, quick):
            removed += _repair(sweep, part)
    for name, output in sweep.inner().items():
        with output.hold():
            removed += _repair(output, verify_output(name, output, quick, advance))
    return removed


def _repair(output: Output, part: CheckedOutput) -> list[str]:
    shards = {problem.drop for problem in part.problems if problem.remedy is Remedy.REDO}
    manifests = {
        problem.drop for problem in part.problems if problem.remedy in (Remedy.PROJECTIONS, Remedy.AGGREGATE)
    }
    for table in output.tables if shards else ():
        _withdraw(output, table, shards)
    taken = sorted({*map(marker_name, shards), *manifests})
    output.folder.delete([name for name in taken if output.folder.exists(name)])
    return taken


def _withdraw(output: Output, table: str, shards: Set[str]) -> None:
    paths = [path for path in read_log(output.folder, table).live if shard_of(path) in shards]
    if paths and not replace_files(output.folder, table, paths, (), "DELETE", changes_rows=True):
        raise StoreError(
            f"`{table}` of {output.url} was published by another process during the repair: verify again."
        )
    show_last_version(output.folder, table)
