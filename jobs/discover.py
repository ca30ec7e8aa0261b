"""Find circuits that the prompts of a group share, and test them on prompts that had no part in finding them.

Clusters of prompts are split into two halves. In the discovery half features at roles and the edges between
them are kept that recur in a group beyond the others and beyond rewired graphs. On the test half the model
runs with each circuit set to 0, kept alone, without one supernode, at other doses, beside sets that could
have been it. Tables circuits, circuit_nodes, circuit_edges, circuit_support and circuit_tests are written
into the output (`_aggregates/`), where a second call with the same settings finds them. Started again after
an interruption, it does what is missing. The exit code is 1 if the tests of some prompts failed, as of
`circuit-sweep run`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jobs._circuit_report import (
    CIRCUITS,
    KNOWN,
    TESTS,
    group_sizes,
    print_circuits,
    print_known,
    print_tests,
)
from jobs._command_line import parse
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command
from pipeline.circuits import Settings
from pipeline.errors import ConfigurationError
from pipeline.runtime import WorkersConfig

if TYPE_CHECKING:
    from pipeline.aggregates import Grouping
    from pipeline.circuits import TestRun
    from pipeline.store import AggregateResult


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep: a folder or an `s3://` URL."""

    by: str
    """Column of `graphs` or of --labels that groups the prompts, or an SQL expression such as "prediction =
    answer"."""

    where: str | None = None
    """SQL condition over the same columns that prompts must meet to count."""

    labels: Path | None = None
    """Parquet or CSV file with a column `id`, whose other columns --by, --where and --cluster may use."""

    cluster: str | None = None
    """Column or expression whose value prompts share that repeat one another, such as their template or
    subject; a cluster is one observation, and in one half (default: the same traced tokens)."""

    settings: Annotated[Settings, tyro.conf.arg(name="")] = field(default_factory=Settings)

    known: Annotated[str | None, tyro.conf.arg(metavar="OUTPUT")] = None
    """Output whose circuits are known: look for nothing, but say which of them this sweep's prompts use, and
    how many prompts none explains."""

    tests: bool = True
    """Test the circuits that are found, with the sweep's model."""

    of: Literal["circuits", "tests"] = "circuits"
    """Rows to write with --format or --output."""

    workers: WorkersConfig = field(default_factory=WorkersConfig)
    """Processes that test, and their resources."""

    address: str | None = None
    """Ray cluster to join (default: RAY_ADDRESS, else a Ray on this machine)."""

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings, if the sweep did."""

    rows: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)


def main(argv: list[str] | None = None) -> int:
    """Find circuits, test them, print both, and return the exit code."""
    arguments = parse(Arguments, argv, "discover", __doc__)
    if arguments.of == "tests" and not arguments.tests:
        raise ConfigurationError("--of tests and --no-tests are at odds: leave one of them out.")

    from pipeline.aggregates import Grouping
    from pipeline.circuits import discover
    from pipeline.untrusted import Console

    if arguments.rows.given:
        arguments.rows.chosen_format()  # a mistake is told before the work, not after it
    grouping = Grouping(arguments.by, arguments.where, arguments.labels, arguments.cluster)
    if arguments.known is not None:
        return _known(arguments, arguments.known, grouping)
    found = discover(arguments.source, grouping, arguments.settings, arguments.address)
    tables = found.duckdb()
    console = Console(highlight=False)
    if not arguments.rows.given:
        print_circuits(console, found, tables)
    code, tested = 0, None
    if arguments.tests and found.dataset("circuits").count_rows():
        run = _test(arguments, found, grouping)
        code, tested = run.exit_code, run.result
        if tested is not None:
            tables.register("circuit_tests", tested.dataset("circuit_tests"))
            if not arguments.rows.given:
                print_tests(console, tested, tables)
    if arguments.rows.given and (arguments.of == "circuits" or tested is not None):
        write_rows(tables.sql(CIRCUITS if arguments.of == "circuits" else TESTS), arguments.rows)
    return code


def _known(arguments: Arguments, known: str, grouping: Grouping) -> int:
    from pipeline.circuits import find_known
    from pipeline.untrusted import Console

    result = find_known(arguments.source, known, grouping, arguments.settings.subject, arguments.address)
    tables = result.duckdb()
    tables.register("group_sizes", group_sizes(result))
    if arguments.rows.given:
        write_rows(tables.sql(KNOWN), arguments.rows)
    else:
        print_known(Console(highlight=False), tables)
    return 0


def _test(arguments: Arguments, found: AggregateResult, grouping: Grouping) -> TestRun:
    from pipeline.circuits import run_tests
    from pipeline.runtime.telemetry import Progress
    from pipeline.untrusted import Console

    console = Console(stderr=True)
    run = run_tests(
        found,
        grouping,
        arguments.settings,
        Progress(console),
        arguments.workers,
        arguments.address,
        arguments.trust_remote_code,
    )
    if run.failed:
        console.print(
            f"the tests of {run.failed:,} prompts failed: `select id, message from {run.folder}_failures` "
            "says why.",
            markup=False,
        )
    if run.result is None:
        console.print(
            f"Nothing was tested, as no prompt is left. To try them again, delete {found.url}/{run.folder}.",
            markup=False,
        )
    return run


if __name__ == "__main__":
    raise SystemExit(run_command(main))
