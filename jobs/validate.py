"""Test every graph of a sweep by intervening in the model, and store the verdict beside the graph.

Tables `validations` (one row a test) and `faithfulness` (one row a graph) are written into OUTPUT/validation
and stand beside the sweep's own in SQL. Started again, it does only what is missing. Exit codes are those of
`circuit-sweep run`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro

from jobs._graph_work import FINISHED, INTERRUPTED, parse_checked, work_on_graphs
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command
from pipeline.runtime import WorkersConfig
from pipeline.validation import ValidationConfig

if TYPE_CHECKING:
    from pipeline.untrusted import Console
    from pipeline.validation import Disagreement, GroupReport, Median

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
    (default: one text, or the same traced tokens; whole groups where groups are summed up)."""

    rows: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)

    address: str | None = None
    """Ray cluster to join (default: RAY_ADDRESS, else a Ray of its own on this machine)."""

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings along."""

    lazy_encoder: bool = False
    """Leave the dictionary's encoders in their files, where they do not fit the memory."""


def main(argv: list[str] | None = None) -> int:
    """Validate a sweep and return the exit code."""
    arguments = parse_checked(Arguments, argv, "validate", __doc__)
    code = FINISHED if arguments.report else _validate(arguments)
    if code != INTERRUPTED:
        _print_report(arguments)
    return code


def _validate(arguments: Arguments) -> int:
    from pipeline.untrusted import Console
    from pipeline.validation import validate_sweep

    report = work_on_graphs(validate_sweep, arguments, Console(stderr=True), "graphs", "tested")
    return INTERRUPTED if report is None else report.exit_code


def _print_report(arguments: Arguments) -> None:
    from pipeline.untrusted import Console
    from pipeline.validation import ValidationOutput, as_rows, disagreements, group_reports, read_faithfulness

    faithfulness = read_faithfulness(ValidationOutput(arguments.source), arguments.by, arguments.cluster)
    reports = group_reports(faithfulness, whole_groups=arguments.cluster is None)
    if arguments.rows.given:
        write_rows(as_rows(reports), arguments.rows)
        return
    console = Console(highlight=False)
    for report in reports:
        _print_group(console, report)
    for paragraph in LEGEND:
        console.print(paragraph, markup=False)
    _print_disagreements(console, disagreements(faithfulness))


def _print_group(console: Console, report: GroupReport) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from pipeline.validation import COMPETITORS, sentences

    console.print(Text(f"{report.group}: {report.graphs:,} graphs, {report.at_stake:,} at stake", "bold"))
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("", "own", *(f"- {name}" for name in COMPETITORS.values())):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for measured in (*report.measured, *report.ranks):
        differences = [compared.difference for compared in measured.competitors.values()]
        own = "" if measured.circuits is None else f"{measured.circuits.value:.2f}"
        name = f"{measured.measure.name}, {measured.measure.run.removeprefix('patterns ')}"
        table.add_row(name.removesuffix(", constrained"), own, *(_interval(median) for median in differences))
    for gain in report.gains:
        own = "" if gain.difference is None else f"{gain.difference.value:.2f}"
        table.add_row(f"rho - {gain.name}", own, _interval(gain.difference))
    console.print(table)
    for sentence in sentences(report):
        console.print(Padding(Text(sentence), (0, 0, 0, 2)))
    console.print()


def _interval(median: Median | None) -> str:
    """Return the interval of a difference, short enough for four in a line."""
    if median is None or median.low is None:
        return "" if median is None else "1 cluster"
    return f"{median.low:.2f}..{median.high:.2f}"


LEGEND = (
    "Shares of what is at stake, medians over graphs. own: of the circuits; - ...: their differences from "
    "other sets, paired graph by graph, as 95% intervals by cluster. Necessity: what is lost when the "
    "circuit is set to 0. Sufficiency: what is left when all but the circuit is. Patterns held, patterns "
    "free: the model itself, its attention patterns held or not. Replacement run: the dictionary stands in "
    "for the MLPs, which is what a graph describes.",
    "matched: random sets outside the circuit that write as much, at the same layers and positions as far "
    "as there are any. any active: random sets of equal write norm from all active features. largest: as "
    "many features that write most, |activation| x |decoder|. worst: of the features outside the circuit "
    "those that cost most one by one, up to its write norm.",
    "necessary: loses more than matched sets, at most 5% of these verdicts false (Benjamini-Hochberg). at "
    "stake: the features decide at least 0.1 logits, or 10% of an explained feature's pre-activation. "
    "ablation rho: rank correlation of influence and the effect of ablating single features, and (rho - "
    "...) by how much it exceeds that of a simpler ranking. knock-on rho: of predicted and observed changes "
    "of later features.",
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
