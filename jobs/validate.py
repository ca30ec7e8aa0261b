"""Test every graph of a sweep by intervening in the model, and store the verdict beside the graph.

Tables `validations` (one row a test) and `faithfulness` (one row a graph) are written into OUTPUT/validation
and stand beside the sweep's own in SQL. Started again, it does only what is missing. Exit codes are those of
`circuit-sweep run`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import ValidationError

from jobs._command_line import parse
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command
from pipeline.errors import ConfigurationError
from pipeline.runtime import WorkersConfig
from pipeline.validation import ValidationConfig

if TYPE_CHECKING:
    from pipeline.untrusted import Console
    from pipeline.validation import Disagreement, GroupReport, Median

FINISHED, INTERRUPTED = 0, 130
DISAGREEMENTS_SHOWN = 10


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output folder or `s3://` URL of a finished sweep."""

    config: Annotated[ValidationConfig, tyro.conf.arg(name="")] = field(default_factory=ValidationConfig)

    workers: WorkersConfig = field(default_factory=WorkersConfig)
    """Processes that test, and their resources."""

    report: bool = False
    """Only print the report of what was found before."""

    by: str | None = None
    """Column of `graphs` to group the report by, or an SQL expression over them (default: `family`, where the
    sweep has it)."""

    cluster: str | None = None
    """Column or SQL expression: prompts that share its value count as one observation in intervals
    (default: the same traced tokens; whole groups where groups are summed up)."""

    rows: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)

    address: str | None = None
    """Ray cluster to join (default: RAY_ADDRESS, else a Ray of its own on this machine)."""

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings along."""

    lazy_encoder: bool = False
    """Leave the dictionary's encoders in their files, where they do not fit the memory."""


def main(argv: list[str] | None = None) -> int:
    """Validate a sweep and return the exit code."""
    arguments = _parse(argv)
    code = FINISHED if arguments.report else _validate(arguments)
    if code != INTERRUPTED:
        _print_report(arguments)
    return code


def _parse(argv: list[str] | None) -> Arguments:
    try:
        return parse(Arguments, argv, "validate", __doc__)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"])).replace("_", "-")
        raise ConfigurationError(f"--{name} is {problem['input']!r}: {problem['msg']}.") from error


def _validate(arguments: Arguments) -> int:
    from pipeline.readable import clock
    from pipeline.runtime.telemetry import Progress
    from pipeline.untrusted import Console
    from pipeline.validation import validate_sweep

    console = Console(stderr=True)
    progress = Progress(console)
    try:
        report = validate_sweep(
            arguments.source,
            arguments.config,
            progress,
            arguments.workers,
            arguments.address,
            arguments.trust_remote_code,
            arguments.lazy_encoder,
        )
    except KeyboardInterrupt:
        console.print(f"interrupted after {progress.counts.done} graphs, which are kept: start it again.")
        return INTERRUPTED
    seconds = (report.finished - report.started).total_seconds()
    counts = report.counts
    before = f", {counts.passed_over:,} before" if counts.passed_over else ""
    console.print(f"{counts.done:,} graphs tested in {clock(seconds)}{before}, {counts.failed:,} failed")
    return report.exit_code


def _print_report(arguments: Arguments) -> None:
    from pipeline.untrusted import Console
    from pipeline.validation import ValidationOutput, as_rows, disagreements, group_reports, read_faithfulness

    faithfulness = read_faithfulness(ValidationOutput(arguments.source), arguments.by, arguments.cluster)
    reports = group_reports(faithfulness, whole_groups=arguments.cluster is None)
    if arguments.rows.given:
        write_rows(as_rows(reports), arguments.rows)
        return
    console = Console(highlight=False)
    _print_groups(console, reports)
    _print_gains(console, reports)
    _print_legend(console)
    _print_disagreements(console, disagreements(faithfulness))


def _print_groups(console: Console, reports: list[GroupReport]) -> None:
    from rich.table import Table

    table = Table(title="Medians over graphs, with 95% bootstrap intervals by cluster", title_justify="left")
    for heading in ("group", "measure", "circuits", "interval", "matched", "largest"):
        table.add_column(heading, justify="left" if heading in ("group", "measure") else "right")
    for report in reports:
        about = [report.group, f"{report.graphs:,} graphs", f"{report.at_stake:,} at stake"]
        if report.necessary is not None:
            about.append(f"necessary: {report.necessary:.0%}")
        for line, median in enumerate(report.medians):
            cells = (*_cells(median.circuits), _cells(median.chance)[0], _cells(median.by_norm)[0])
            table.add_row(about[line] if line < len(about) else "", median.measure.name, *cells)
        table.add_section()
    console.print(table)


def _print_gains(console: Console, reports: list[GroupReport]) -> None:
    """Say plainly where a simpler ranking does as well as influence."""
    from rich.table import Table

    table = Table(title="What influence adds to simpler rankings of ablations", title_justify="left")
    for heading in ("group", "beside", "difference", "interval", "partial", "interval"):
        table.add_column(heading, justify="left" if heading in ("group", "beside") else "right")
    for report in reports:
        for line, gain in enumerate(report.gains):
            cells = (*_cells(gain.difference), *_cells(gain.partial))
            table.add_row("" if line else report.group, gain.name, *cells)
        table.add_section()
    console.print(table)
    for report in reports:
        if report.necessary is not None:
            console.print(
                f"{report.group}: of {report.at_stake:,} graphs at stake, {report.necessary:.0%} have a "
                "circuit that is shown to be necessary.",
                markup=False,
            )
        measured = [gain for gain in report.gains if gain.difference is not None]
        beaten = [gain.name for gain in measured if gain.is_shown]
        others = [gain.name for gain in measured if not gain.is_shown]
        if not measured:
            console.print(f"{report.group}: nothing can be said of influence.", markup=False)
        elif not others:
            console.print(
                f"{report.group}: influence ranks ablations better than each of these.", markup=False
            )
        else:
            shown = f"; shown beside {', '.join(beaten)} only" if beaten else ""
            console.print(
                f"{report.group}: multi-hop influence is not shown to add anything to {', '.join(others)}"
                f"{shown}.",
                markup=False,
            )


def _cells(median: Median | None) -> tuple[str, str]:
    if median is None or median.low is None:
        return ("", "") if median is None else (f"{median.value:.2f}", "one cluster")
    return f"{median.value:.2f}", f"{median.low:.2f}..{median.high:.2f}"


def _print_legend(console: Console) -> None:
    from pipeline.validation import LEVEL, MEASURES

    for measure in MEASURES:
        console.print(f"{measure.name}: {measure.meaning}")
    console.print(
        "R: the replacement run, where the dictionary stands in for the MLPs; else the model itself"
    )
    console.print("at stake: graphs whose features decide at least 0.1 logits; medians are over these")
    console.print(
        "difference: ablation rho of influence less that of a simpler ranking; partial: rho given that "
        "ranking. Write norm is |activation| x |decoder|; late, divided by 1 + distance to the last position"
    )
    console.print(
        "matched: the same of random sets of active features that write as much, as far as there are any"
    )
    console.print("largest: the same of as many features that write most, |activation| x |decoder|")
    console.print(
        f"necessary: graphs whose circuit loses more than matched sets (false: {LEVEL:.0%} at most, by BH)"
    )


def _print_disagreements(console: Console, found: list[Disagreement]) -> None:
    from pipeline.validation import HIGH

    console.print(
        f"\n{len(found)} graphs have completeness of at least {HIGH} but a circuit that is not necessary"
        + (":" if found else ".")
    )
    for graph in found[:DISAGREEMENTS_SHOWN]:
        console.print(
            f"  {graph.id}: {graph.text} (completeness {graph.completeness_score:.3f}, "
            f"necessity {graph.necessity:.2f}, rank {graph.rank} of {graph.draws + 1})",
            markup=False,
            soft_wrap=True,
        )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
