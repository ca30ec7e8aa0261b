"""An output, the outputs inside it and its aggregates, each against its own bookkeeping."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DamageError
from pipeline.store.aggregate_results import AggregateManifest, aggregate_names, read_aggregate_manifest
from pipeline.store.commits import read_holder
from pipeline.store.layout import DRIVER, UPKEEP, aggregate_folder, aggregate_key
from pipeline.store.notes import note_names, read_note
from pipeline.store.output import Output
from pipeline.store.verify.commits import check_commits
from pipeline.store.verify.contents import Advance, check_contents, check_sizes
from pipeline.store.verify.files import wrong_with
from pipeline.store.verify.inventory import Inventory
from pipeline.store.verify.report import CheckedOutput, Problem, Remedy, Report
from pipeline.store.verify.resumption import FoundSound
from schemas import AGGREGATE_TABLES


def verify(
    url: str, quick: bool = False, advance: Advance = lambda done, tasks: None, resume: Path | None = None
) -> Report:
    """Verify a sweep's output with everything in it.

    Args:
        url: a folder or an `s3://` URL.
        quick: read no data; compare only what is written down with which files there are, and their sizes.
        advance: is told, while data is read, how many parts of the work are done.
        resume: a file that holds what was found sound, until the end: started again with it, a verification
            that was interrupted goes on where it stopped. Damage after a part was read is not found then.

    Raises:
        StoreError: there is no sweep, or it cannot be read at all.
        ConfigurationError: the file is another output's, or cannot be written.

    """
    sweep = Output(url)
    sweep.claimed()
    sound = FoundSound(sweep.url, resume)
    parts = [verify_output(name_of(sweep), sweep, quick, advance, sound)]
    parts += [verify_output(name, output, quick, advance, sound) for name, output in sweep.inner().items()]
    parts += aggregate_parts(sweep, quick)
    parts += note_parts(sweep)
    if sound.before:
        parts[0].notes.append(f"{sound.before:,} parts were read by an earlier verification, and not again")
    sound.end()
    return Report(sweep.url, quick, tuple(parts))


def name_of(output: Output) -> str:
    """The name of an output that lies in no other: another kind of work is named by its first table."""
    return "sweep" if "graphs" in output.tables else next(iter(output.tables))


def verify_output(
    name: str, output: Output, quick: bool, advance: Advance, sound: FoundSound | None = None
) -> CheckedOutput:
    """Verify one output, but for what was found `sound` before."""
    part = CheckedOutput(name, output.url)
    for lease, who in ((DRIVER, "a driver"), (UPKEEP, "a compaction or a repair")):
        if holder := read_holder(output.folder, lease):
            state = "seems to have died, and the next one takes over" if holder.is_dead else "is at work"
            since = f"{holder.since:%Y-%m-%d %H:%M:%S} UTC"
            part.notes.append(f"{who}, process {holder.pid} on {holder.host} since {since}, {state}")
    try:
        inventory = Inventory.read(output)
    except DamageError as error:
        part.add([Problem("the Delta log", f"keeps all else from being looked at: {error}", Remedy.RESTORE)])
        return part
    check_commits(inventory, part)
    if quick:
        check_sizes(inventory, part)
    else:
        check_contents(inventory, part, advance, sound or FoundSound(output.url))
    return part


def aggregate_parts(sweep: Output, quick: bool) -> Iterator[CheckedOutput]:
    """Verify the aggregates: one part for each result."""
    for name in aggregate_names(sweep.folder):
        part = CheckedOutput(f"aggregate {aggregate_key(name)}", sweep.url, shards=1)
        try:
            manifest = read_aggregate_manifest(sweep.folder, name)
        except DamageError:
            part.add([Problem(name, "is no manifest that can be read", Remedy.AGGREGATE, name)])
        else:
            part.add(_aggregate_problems(sweep, name, manifest, part, quick))
        yield part


def note_parts(sweep: Output) -> Iterator[CheckedOutput]:
    """Verify the notes, if there are any: each can be read."""
    names = note_names(sweep.folder)
    if not names:
        return
    part = CheckedOutput("notes", sweep.url, shards=len(names))
    for name in names:
        try:
            read_note(sweep.folder, name)
        except DamageError as error:
            part.add([Problem(name, str(error).rstrip("."), Remedy.NOTE)])
    yield part


def _aggregate_problems(
    sweep: Output, name: str, manifest: AggregateManifest, part: CheckedOutput, quick: bool
) -> Iterator[Problem]:
    for table, files in manifest.files.items():
        sizes = {e.name: e.bytes for e in sweep.folder.list(aggregate_folder(aggregate_key(name), table))}
        for file in files:
            part.count(table, file.rows, file.bytes)
            if quick:
                found = sizes.get(file.path)
                wrong = None if found == file.bytes else f"has {found} bytes instead of {file.bytes:,}"
            else:
                wrong = wrong_with(sweep.folder, file, AGGREGATE_TABLES[table].schema)
            if wrong:
                yield Problem(file.path, wrong, Remedy.AGGREGATE, name)
        orphans = sizes.keys() - {file.path for file in files}
        part.orphans += sorted(orphans)
