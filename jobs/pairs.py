"""Patch the prompts of a sweep's pairs with their partners' activations: what carries the difference?

The features of each circuit are set to what they are on the partner, all of them and one by one, and what
goes along single edges; the share of the logit difference that this recovers is stored in OUTPUT/pairs,
tables `pairs` and `pair_effects`, beside the sweep's own in SQL. Started again, it does only what is missing.
Exit codes are those of `circuit-sweep run`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jobs._graph_work import FINISHED, INTERRUPTED, parse_checked, work_on_graphs
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command
from pipeline.runtime import WorkersConfig
from pipeline.validation import PairTests

if TYPE_CHECKING:
    from pipeline.untrusted import Console
    from pipeline.validation import Mean, Median, PairGroup, PairReport

SHARES = {"circuit": "circuit", "at 0": "zero", "circuit - at 0": "more", "all features": "everything"}
"""Rows of a group by what they say, and their names in the report."""


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output folder or `s3://` URL of a finished sweep."""

    config: Annotated[PairTests, tyro.conf.arg(name="")] = field(default_factory=PairTests)

    workers: WorkersConfig = field(default_factory=WorkersConfig)
    """Processes that patch, and their resources."""

    report: bool = False
    """Only print the report of what was found before."""

    by: str | None = None
    """Column of `graphs` to group the report by, or an SQL expression over them (default: the role)."""

    cluster: str | None = None
    """Column or SQL expression: prompts that share its value count as one observation (default: the two of a
    pair)."""

    top: int = 10
    """Features to print."""

    of: Literal["groups", "features"] = "groups"
    """Rows to write with --format or --output: shares by group, or features."""

    rows: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)

    address: str | None = None
    """Ray cluster to join (default: RAY_ADDRESS, else a Ray of its own on this machine)."""

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings along."""

    lazy_encoder: bool = False
    """Leave the dictionary's encoders in their files, where they do not fit the memory."""


def main(argv: list[str] | None = None) -> int:
    """Patch a sweep's pairs, print what they show, and return the exit code."""
    arguments = parse_checked(Arguments, argv, "pairs", __doc__)
    code = FINISHED if arguments.report else _patch(arguments)
    if code != INTERRUPTED:
        _print_report(arguments)
    return code


def _patch(arguments: Arguments) -> int:
    from pipeline.untrusted import Console
    from pipeline.validation import patch_pairs

    console = Console(stderr=True)
    report = work_on_graphs(patch_pairs, arguments, console, "prompts", "patched")
    if report is None:
        return INTERRUPTED
    if failed := report.counts.all_failed:
        console.print(
            f"{failed:,} have no rows: `select id, message from pairs_failures` says why.", markup=False
        )
    return report.exit_code


def _print_report(arguments: Arguments) -> None:
    from pipeline.untrusted import Console
    from pipeline.validation import PairOutput, feature_rows, pair_report, pair_rows

    report = pair_report(PairOutput(arguments.source), arguments.by, arguments.cluster)
    if arguments.rows.given:
        write_rows(pair_rows(report) if arguments.of == "groups" else feature_rows(report), arguments.rows)
        return
    console = Console(highlight=False)
    for group in report.groups:
        _print_group(console, group)
    _print_features(console, report, arguments.top)
    for paragraph in LEGEND:
        console.print(paragraph, markup=False)


def _print_group(console: Console, group: PairGroup) -> None:
    from rich.table import Table
    from rich.text import Text

    about = f"{group.prompts:,} prompts, {group.at_stake:,} at stake in {group.clusters:,} clusters"
    stake = "" if group.stake is None else f", median difference {group.stake:.2f} logits"
    console.print(Text(f"{group.group}: {about}{stake}", "bold"))
    if group.runs:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for heading in ("recovered", *(run.run for run in group.runs)):
            table.add_column(heading, justify="right" if table.columns else "left", no_wrap=True)
        for label, name in SHARES.items():
            table.add_row(label, *(_median(getattr(run, name)) for run in group.runs))
        console.print(table)
    console.print()


def _median(median: Median) -> str:
    interval = "1 cluster" if median.low is None else f"{median.low:.2f}..{median.high:.2f}"
    return f"{median.value:.2f} ({interval})"


def _print_features(console: Console, report: PairReport, top: int) -> None:
    from rich.table import Table
    from rich.text import Text

    shown = sum(one.is_shown for one in report.features)
    console.print(
        Text(
            f"{shown:,} of {len(report.features):,} features recover a share that is shown (q <= 0.05); "
            f"{report.untested:,} others are on too few clusters to tell",
            "bold",
        )
    )
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("feature", "from end", "prompts", "clusters", "recovered", "at 0", "free", "q"):
        table.add_column(heading, justify="right" if table.columns else "left", no_wrap=True)
    for one in report.features[:top]:
        table.add_row(
            f"{one.layer}/{one.feature}",
            str(one.position_from_end),
            f"{one.prompts:,}",
            f"{one.clusters:,}",
            _mean(one.held),
            f"{one.zero:.2f}",
            f"{one.free:.2f}",
            f"{one.q_value:.3f}",
        )
    if report.features:
        console.print(table)
    console.print()


def _mean(mean: Mean) -> str:
    return f"{mean.value:.2f} ({mean.low:.2f}..{mean.high:.2f})"


LEGEND = (
    "Shares of the difference between a prompt and its partner, in the logit of its answer less that of the "
    "partner's: 1 turns the one into the other. Medians over prompts, of features means over clusters, with "
    "95% intervals by cluster. circuit: the features that pruning kept on either prompt, at the partner's "
    "activations; at 0: the same features ablated; all features: every one that is active on either.",
    "Patterns held, patterns free: attention patterns of the prompt held or not; features one by one with "
    "patterns held, and free beside it. A feature counts on the prompts where it was among the most "
    "influential that differ. q: from sign flips of whole clusters, Benjamini-Hochberg over the features.",
)

if __name__ == "__main__":
    raise SystemExit(run_command(main))
