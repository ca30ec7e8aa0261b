"""Check that an output is whole: every marker, file, row and reference.

Of everything that counts: are files there, of the size and checksum that were written, readable and with
their table's columns; is every prompt done once and every node and edge there once; do edges end at nodes of
their prompt, and do the counts in `graphs` hold; do the published versions and the projections fit
the markers. A sweep may be at work meanwhile. Validations and aggregates are checked with their sweep.
Exit codes: 0, sound; 1, damaged (what to do is said); 2, could not look.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from jobs._command_line import parse
from jobs._tables import ReportOptions
from jobs.cli import run_command

if TYPE_CHECKING:
    from pipeline.store.verify import Problem, Report
    from pipeline.untrusted import Console

SOUND, DAMAGED = 0, 1

LISTED = 12
"""Problems that are shown on a terminal; `--format json` has all."""


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    output: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep or a training: a folder or an `s3://` URL."""

    quick: bool = False
    """Read no data: compare bookkeeping, and files' sizes."""

    repair: bool = False
    """Take away what is damaged and can be made again: damaged shards, which the next run of the sweep then
    does again, projections and aggregate results. Refused while a driver is at work."""

    resume: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Keep in this file what was found sound, and go on with what it holds: for an output so large that its
    verification may be interrupted. The file goes at the end; the next verification reads everything."""

    report: Annotated[ReportOptions, tyro.conf.arg(name="")] = field(default_factory=ReportOptions)


def main(argv: list[str] | None = None) -> int:
    """Verify an output; return 0 if it is sound."""
    arguments = parse(Arguments, argv, "verify", __doc__)

    from pipeline.training.distributed import is_training
    from pipeline.untrusted import Console

    if is_training(arguments.output):
        return _training(arguments)
    report, removed = _look(arguments)
    with arguments.report.opened() as stream:
        if arguments.report.format == "json":
            print(json.dumps(_as_json(report, removed), indent=2), file=stream)
        else:
            _print(Console(file=stream, highlight=False, soft_wrap=True), report, removed)
    return SOUND if report.sound else DAMAGED


def _training(arguments: Arguments) -> int:
    """Verify a training's checkpoints, tokens and dictionary."""
    from jobs._training import as_json, print_check
    from pipeline.training.distributed import verify_training
    from pipeline.untrusted import Console

    check = verify_training(arguments.output, arguments.quick)
    with arguments.report.opened() as stream:
        if arguments.report.format == "json":
            print(json.dumps({"sound": not check.problems, **as_json(check)}, indent=2), file=stream)
        else:
            print_check(Console(file=stream, highlight=False, soft_wrap=True), check)
    return DAMAGED if check.problems else SOUND


def _look(arguments: Arguments) -> tuple[Report, list[str]]:
    """Verify; where asked to, repair and verify once more."""
    from pipeline.store.verify import repair, verify

    with _progress() as advance:
        report = verify(arguments.output, arguments.quick, advance, arguments.resume)
        if report.sound or not arguments.repair:
            return report, []
        removed = repair(arguments.output, arguments.quick, advance)
        return verify(arguments.output, arguments.quick, advance), removed


def _print(console: Console, report: Report, removed: list[str]) -> None:
    console.print(_tables(report))
    if removed:
        console.print(f"took away {_some(removed)}: run again the commands that made them.")
    for part in report.parts:
        for note in part.notes:
            console.print(f"note, {part.name}: {note}.", markup=False)
    if report.orphans:
        console.print(
            f"note: {len(report.orphans):,} files are named by no marker, and no reader sees them: of "
            "attempts that are still at work, or died, or were second. The end of the next run deletes them."
        )
    problems = report.problems
    for problem in problems[:LISTED]:
        console.print(f"damaged: {problem.path} {problem.what}", markup=False)
    if len(problems) > LISTED:
        console.print(f"... and {len(problems) - LISTED:,} more; `--format json` has all.")
    for remedy in dict.fromkeys(problem.remedy for problem in problems):
        count = sum(problem.remedy is remedy for problem in problems)
        console.print(f"to do ({count:,}): {remedy.format(output=report.url)}.", markup=False)
    looked = "sizes and bookkeeping" if report.quick else "every file and row"
    console.print(f"{report.url}: {'sound' if report.sound else 'DAMAGED'} ({looked} checked)", markup=False)


def _tables(report: Report) -> object:
    from rich.table import Table

    table = Table()
    for name in ("", "table", "files", "rows", "MB"):
        table.add_column(name, justify="left" if name in ("", "table") else "right")
    for part in report.parts:
        heading = f"{part.name}, {part.shards:,} shards" if part.tables and part.shards != 1 else part.name
        for name, counted in part.tables.items():
            size = f"{counted.bytes / 1e6:,.1f}"
            table.add_row(heading, name, f"{counted.files:,}", f"{counted.rows:,}", size)
            heading = ""
    return table


def _as_json(report: Report, removed: list[str]) -> dict:
    found = asdict(report)
    for part, told in zip(report.parts, found["parts"], strict=True):
        told["problems"] = [_problem(problem, part.url) for problem in part.problems]
    return {"sound": report.sound, **found, "removed": removed}


def _problem(problem: Problem, url: str) -> dict[str, str]:
    to_do = problem.remedy.format(output=url)
    return {
        "path": problem.path,
        "what": problem.what,
        "remedy": problem.remedy.name.lower(),
        "to_do": to_do,
    }


def _some(names: list[str]) -> str:
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how far the reading is."""
    from rich.progress import Progress

    from pipeline.untrusted import Console

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda done, tasks: bar.update(task, completed=done, total=tasks)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
