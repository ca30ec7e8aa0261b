"""Compare two sweeps: which features and edges were gained, lost or changed, beyond noise.

Two outputs, two nights of one output (`--at-a`, `--at-b`), two configurations, two checkpoints. With the same
dictionary, features and edges are compared one by one; with different ones, through a match of their features
by the correlation of their activations. Exit codes: 0, nothing differs beyond the noise floor; 1, something
does, or a prompt of A is not in B; 2, they cannot be compared (a message says why). With different
dictionaries there is no such verdict, and the code is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jobs._command_line import parse
from jobs._labels import Labels, labelled
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command
from pipeline.errors import ConfigurationError
from pipeline.features import FeatureName

if TYPE_CHECKING:
    from pipeline.compare import Comparison
    from pipeline.untrusted import Console

SAME, DIFFERENT = 0, 1

ROWS_SHOWN = 8

LONGEST_VALUE = 60
"""Characters of a setting's value that are shown."""

CHANGES = [f"{what} {change}" for what in ("features", "edges") for change in ("gained", "lost", "changed")]


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    a: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """Output of the first sweep: a folder or an `s3://` URL."""

    b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """Output of the second; the same again to compare two of its versions."""

    at_a: str | None = None
    """Published version (a number) or date of A (default: what is committed now)."""

    at_b: str | None = None
    """The same of B."""

    by: str | None = None
    """Column of A's `graphs` that groups the prompts in the report, or an SQL expression over them."""

    answer: str = "answer"
    """Column of `graphs` with the right answer, or a list of several, where there is one. The model's own
    prediction is judged by it: spaces around it do not count, case does, and the mere beginning of an answer
    is neither right nor wrong."""

    floor: float | None = None
    """Noise floor: a difference counts above this share of the prompt's largest (default: 1e-4)."""

    repeat: tuple[str, ...] = ()
    """Outputs of further runs of A's configuration; their largest difference is the floor. With different
    dictionaries: sweeps with dictionaries of A's recipe and other seeds; the share of A's features that they
    match is the noise level of a match."""

    min_correlation: float = 0.5
    """With different dictionaries: least correlation of a match."""

    run_model: bool = True
    """With different dictionaries: run B's model with random dictionaries, to say what a match is worth.
    Without, the bar is that of chance within tokens alone."""

    format: Literal["table", "csv", "json", "parquet"] | None = None
    """Format of the tables (default: Parquet in --output). Without --output it writes one table,
    `diff_prompts`, to standard output instead of the report."""

    output: str | None = None
    """Folder or `s3://` URL that receives the tables `diff_*`, a file each."""


def main(argv: list[str] | None = None) -> int:
    """Compare, print the report, and return the verdict."""
    arguments = parse(Arguments, argv, "diff", __doc__)

    from pipeline.compare import PairedSweep, compare
    from pipeline.store import Output
    from pipeline.untrusted import Console

    if arguments.output is not None and arguments.format == "table":
        raise ConfigurationError("--format table is for the screen: write csv, json or parquet to --output.")
    a, b = (
        PairedSweep(Output(url), at)
        for url, at in ((arguments.a, arguments.at_a), (arguments.b, arguments.at_b))
    )
    repeats = [PairedSweep(Output(url)) for url in arguments.repeat]
    found = compare(
        a,
        b,
        arguments.by,
        arguments.answer,
        arguments.floor,
        repeats,
        arguments.min_correlation,
        arguments.run_model,
    )
    if arguments.output is not None:
        _write_folder(found, arguments.output, arguments.format or "parquet")
    elif arguments.format is not None:
        write_rows(found.prompts, TableOptions(arguments.format))
        return DIFFERENT if found.differs else SAME
    _print(Console(highlight=False), found)
    return DIFFERENT if found.differs else SAME


def _write_folder(found: Comparison, url: str, format: Literal["csv", "json", "parquet"]) -> None:
    from pipeline.compare import write_tables
    from pipeline.store import open_folder

    if format == "parquet":
        write_tables(found, url)  # with the meaning and unit of each column
        return
    folder = open_folder(url)
    with TemporaryDirectory(prefix="circuit-sweep-") as temporary:
        for name, rows in found.tables.items():
            file = Path(temporary, f"{name}.{format}")
            write_rows(rows, TableOptions(format, file))
            folder.replace(file.name, file.read_bytes())


def _print(console: Console, found: Comparison) -> None:
    for name, side in (("A", found.pair.a), ("B", found.pair.b)):
        at = "" if side.at is None else f" at {side.at}"
        console.print(f"{name}: {side.output.url}{at}", markup=False)
    pair = found.pair
    _print_settings(console, pair.settings())
    by = "tokens" if pair.aligned else "text"
    console.print(
        f"{pair.shared:,} shared prompts by {by}; only in A {pair.only_a:,}, only in B {pair.only_b:,}"
    )
    _print_sides(console, found)
    if found.match is None:
        _print_changes(console, found)
    else:
        _print_match(console, found)
    if found.differs:
        console.print(f"exit code {DIFFERENT}: {'; '.join(found.differences)}")


def _print_settings(console: Console, settings: list[tuple[str, str, str]]) -> None:
    if not settings:
        console.print("the settings are the same")
        return
    console.print("settings that differ (A, then B):")
    for name, a, b in settings:
        console.print(f"  {name}: {_short(a)}, {_short(b)}", markup=False, soft_wrap=True)


def _short(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[:LONGEST_VALUE]}..."


def _print_sides(console: Console, found: Comparison) -> None:
    from rich.table import Table

    table = Table("mean over shared prompts", box=None, padding=(0, 2, 0, 0))
    for name in "AB":
        table.add_column(name, justify="right")
    for name, *values in found.sides():
        table.add_row(name, *("" if value is None else f"{value:.4g}" for value in values))
    console.print(table)
    if any(found.not_judged):
        a, b = found.not_judged
        console.print(
            "not judged, without an answer or with only its beginning predicted (nothing is generated): "
            f"{a:,} prompts in A, {b:,} in B"
        )
    console.print(f"another first target: {found.other_targets:,} of {found.prompts.num_rows:,} prompts")


def _print_changes(console: Console, found: Comparison) -> None:
    from rich.table import Table

    from pipeline.store import labels_beside

    console.print(f"noise floor: {found.floor:.2g} of each prompt's largest")
    counts = found.by_group()
    total = sum(sum(row[2:]) for row in counts)
    if not total:
        console.print("no feature and no edge differs beyond it")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("group", "prompts", *CHANGES):
        table.add_column(name, justify="left" if name == "group" else "right", no_wrap=name == "group")
    for label, *numbers in counts[:ROWS_SHOWN]:
        table.add_row(label, *(f"{number:,}" for number in numbers))
    console.print(table)
    if len(counts) > ROWS_SHOWN:
        console.print(f"and {len(counts) - ROWS_SHOWN} more groups with fewer differences")
    _print_features(console, found.top_features(ROWS_SHOWN), labels_beside(found.pair.a.output.folder))


def _print_features(console: Console, top: list[tuple], labels: Labels) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("most often different", "gained", "lost", "changed", "influence B - A"):
        table.add_column(name, justify="left" if name.startswith("most") else "right")
    for layer, feature, *counts, change in top:
        table.add_row(
            labelled(labels, FeatureName(layer, feature)),
            *(f"{count:,}" for count in counts),
            f"{change:+.4f}",
        )
    console.print(table)


def _print_match(console: Console, found: Comparison) -> None:
    match = found.match
    console.print(
        f"different dictionaries: of {match.features:,} features of A {match.matched:,} "
        f"({match.matched_share:.1%}) are matched: each the other's best, over {match.observations:,} "
        f"observations; one to one, {match.assigned:,} ({match.assigned_share:.1%}) can be"
    )
    nothing = match.random_share
    console.print(
        "not compared with a random dictionary: the share that one would match is not known"
        if nothing is None
        else f"a random dictionary, as sparse as B's and held to the same bars, matches {nothing:.1%}"
    )
    if found.seed_shares:
        shares = ", ".join(f"{share:.1%}" for share in found.seed_shares)
        console.print(
            f"noise level: other seeds of A's recipe match {shares}; less than that is a difference"
        )
    low, middle, high = found.match_quartiles()
    console.print(
        f"correlation of matched pairs: median {middle:.3f}, quartiles {low:.3f} and {high:.3f}; least by "
        "how often a feature is active, by what 99% stay below by chance: "
        + ", ".join(f"{max(bar, found.min_correlation):.2f} ({n:,}+)" for n, bar in match.chance.items())
    )
    if (cosine := found.median_cosine()) is not None:
        console.print(f"decoders of matched pairs: median cosine {cosine:.3f}")
    names = {"shared": "shared", "missing": "missing in B", "unmatched": "unmatched", "new": "new in B"}
    counts = found.circuit_means()
    console.print(
        "edges a prompt, positions collapsed: "
        + ", ".join(f"{name} {counts[column]:.1f}" for column, name in names.items())
        + f"; shared ones carry {counts['shared_influence']:.1%} of A's influence, unmatched ones "
        f"{counts['unmatched_influence']:.1%}, new ones {counts['new_influence']:.1%} of B's"
    )
    _print_circuits(console, found.circuits_by_group())


def _print_circuits(console: Console, groups: list[tuple]) -> None:
    from rich.table import Table

    if len(groups) < 2:
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("share of influence by group", "prompts", "shared", "unmatched", "new"):
        table.add_column(name, justify="left" if name.startswith("share ") else "right")
    for label, prompts, *shares in groups[: 2 * ROWS_SHOWN]:
        table.add_row(label, f"{prompts:,}", *(f"{share:.1%}" for share in shares))
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
