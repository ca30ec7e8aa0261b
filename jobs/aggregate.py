"""Aggregate a sweep by a column of its prompts: statistics, what is tied to a group, what acts together.

Of `stats`: feature_stats, edge_stats, feature_enrichment, edge_enrichment. Of `pairs`: feature_pairs, which
features are active together and what one does to the other there. The tables are written into the output
(`_aggregates/`), where a second call with the same settings finds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jobs.cli import run_command

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.mining.mined import Mined


@dataclass(frozen=True)
class Arguments:
    """What the command line holds."""

    output: Annotated[str, tyro.conf.Positional]
    """Output of a sweep: a folder or an `s3://` URL."""

    of: Literal["stats", "pairs"] = "stats"
    """What to aggregate."""

    by: str | None = None
    """Of stats: column of `graphs` whose values group the prompts [default: all prompts are one group]."""

    fdr: float = 0.05
    """Of stats: false discovery rate at which a feature or an edge counts as tied to a group."""

    min_support: int = 5
    """Prompts that a feature or an edge must be on to be tested; positions that a pair must share."""

    weights: bool = True
    """Of pairs: load the model and its dictionary for the weights between them."""

    shuffle: int | None = None
    """Of stats: shuffle the labels first, with this seed: a check, which should find next to nothing."""

    address: str | None = None
    """Ray cluster to join [default: RAY_ADDRESS, else a Ray of its own on this machine]."""

    top: int = 5
    """Features to show for each group."""


STRONGEST = """
    select label, layer, feature, prompts_with, prompts, rate_outside, log2_odds, q_value
    from feature_enrichment where log2_odds > 0
    qualify row_number() over (partition by label order by p_value, log2_odds desc) <= $top
    order by label, p_value, log2_odds desc
"""

CLOSEST = """
    select source_layer || '/' || source_feature, target_layer || '/' || target_feature, together, jaccard,
        npmi, virtual_weight, twera
    from feature_pairs order by abs(twera) desc nulls last, npmi desc limit $top
"""


def main(argv: list[str] | None = None) -> int:
    """Aggregate, print what is most tied to each group, and return 0."""
    arguments = tyro.cli(Arguments, args=argv, prog="circuit-sweep aggregate", description=__doc__)

    from rich.console import Console

    console = Console(highlight=False)
    if arguments.of == "pairs":
        _print_pairs(console, _pairs(arguments), arguments.top)
        return 0
    mined = _stats(arguments)
    _print_groups(console, mined)
    _print_strongest(console, mined, arguments.top)
    return 0


def _stats(arguments: Arguments) -> Mined:
    from pipeline.errors import ConfigurationError
    from pipeline.sweep.aggregation import Aggregation, aggregate

    if not 0 < arguments.fdr <= 1:
        raise ConfigurationError(f"--fdr is {arguments.fdr}; it is a rate above 0 and at most 1.")
    settings = Aggregation(arguments.by, arguments.fdr, arguments.min_support, arguments.shuffle)
    return aggregate(arguments.output, settings, arguments.address)


def _pairs(arguments: Arguments) -> Mined:
    from pipeline.sweep.pairing import Pairing, pair_features

    settings = Pairing(arguments.min_support, arguments.weights)
    return pair_features(arguments.output, settings, arguments.address)


def _print_groups(console: Console, mined: Mined) -> None:
    info = mined.manifest().info
    console.print(
        f"{sum(info['groups'].values()):,} prompts in {len(info['groups'])} groups"
        + (f"; {info['left_out']:,} have no value and are left out" if info["left_out"] else "")
    )
    _print_tables(console, mined)


def _print_tables(console: Console, mined: Mined) -> None:
    manifest = mined.manifest()
    for table, files in manifest.files.items():
        kind, _, what = table.partition("_")
        of = f" of {manifest.info['tests'][kind]:,} tests" if what == "enrichment" else ""
        console.print(f"  {table}: {sum(file.rows for file in files):,} rows{of}")
    # Not wrapped: a line to copy.
    console.file.write(f"in {mined.url}/_aggregates/{mined.key}/<table>/*.parquet\n")


def _print_strongest(console: Console, mined: Mined, top: int) -> None:
    from rich.table import Table

    found = mined.duckdb().execute(STRONGEST, {"top": top}).fetchall()
    if not found:
        console.print("no feature is tied to a group beyond chance")
        return
    table = Table(title="features most tied to each group")
    for name in ("group", "layer", "feature", "on its prompts", "on others", "log2 odds", "q"):
        table.add_column(name, justify="left" if name == "group" else "right", no_wrap=name == "group")
    for label, layer, feature, count, prompts, outside, odds, q in found:
        shares = (f"{count} of {prompts}", f"{outside:.1%}")
        table.add_row(label, str(layer), str(feature), *shares, f"{odds:.1f}", f"{q:.1e}")
    console.print(table)


def _print_pairs(console: Console, mined: Mined, top: int) -> None:
    from rich.table import Table

    _print_tables(console, mined)
    found = mined.duckdb().execute(CLOSEST, {"top": top}).fetchall()
    table = Table(title="strongest target-weighted expected effects (TWERA)")
    for name in ("source", "target", "together", "Jaccard", "NPMI", "virtual weight", "TWERA"):
        table.add_column(name, justify="right")
    for source, target, together, *numbers in found:
        table.add_row(source, target, f"{together:,}", *("" if n is None else f"{n:.3f}" for n in numbers))
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
