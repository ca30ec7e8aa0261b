"""Aggregate a sweep by a column of its prompts: statistics, what is tied to a group, what acts together.

Of `stats`: feature_stats, edge_stats, feature_enrichment, edge_enrichment. Of `pairs`: feature_pairs, which
features are active together and what one does to the other there. Of `supernodes`: supernodes, features
that act alike over the prompts, compared to the groups of `--by`. The tables are written into the output
(`_aggregates/`), where a second call with the same settings finds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jobs.cli import run_command
from pipeline.features import FeatureName, parse_feature

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.aggregates import Aggregate, AggregateResult


@dataclass(frozen=True)
class Arguments:
    """What the command line holds."""

    output: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep: a folder or an `s3://` URL."""

    of: Literal["stats", "pairs", "supernodes"] = "stats"
    """What to aggregate."""

    by: str | None = None
    """Of stats and supernodes: column of `graphs` whose values group the prompts [default: one group]."""

    fdr: float = 0.05
    """Of stats: false discovery rate at which a feature or an edge counts as tied to a group."""

    min_support: int = 5
    """Prompts that a feature or an edge must be on to be tested; positions that a pair must share."""

    weights: bool = True
    """Of pairs: load the model and its dictionary for the weights between them."""

    trust_remote_code: bool = False
    """Of pairs: run Python code that the model's repository brings, if the sweep did."""

    feature: str | None = None
    """Of pairs: show this feature's neighbours, named `layer/feature`."""

    shuffle: int | None = None
    """Of stats: shuffle the labels first, with this seed: a check, which should find next to nothing."""

    address: str | None = None
    """Ray cluster to join [default: RAY_ADDRESS, else a Ray of its own on this machine]."""

    top: int = 5
    """Rows to show, of stats for each group."""


STRONGEST = """
    select prompt_group, layer, feature, prompts_with, prompts, rate_outside, log2_odds, q_value
    from feature_enrichment where log2_odds > 0
    qualify row_number() over (partition by prompt_group order by p_value, log2_odds desc) <= $top
    order by prompt_group, p_value, log2_odds desc
"""

STRONGEST_PAIRS = """
    select source_layer || '/' || source_feature, target_layer || '/' || target_feature, n_coactive, jaccard,
        npmi, virtual_weight, twera
    from feature_pairs order by abs(twera) desc nulls last, npmi desc limit $top
"""

LARGEST = """
    select supernode, any_value(members), avg(similarity), any_value(stability), mode(prompt_group),
        string_agg(layer || '/' || feature, ' ' order by similarity desc) as named
    from supernodes where members > 1 group by supernode order by supernode limit $top
"""


def main(argv: list[str] | None = None) -> int:
    """Aggregate, print what is most tied to each group, and return 0."""
    arguments = tyro.cli(Arguments, args=argv, prog="circuit-sweep aggregate", description=__doc__)

    from rich.console import Console

    from pipeline.aggregates import run_aggregate

    result = run_aggregate(arguments.output, _aggregate(arguments), arguments.address)
    console = Console(highlight=False)
    if arguments.of == "pairs":
        _print_pairs(console, result, arguments)
    elif arguments.of == "supernodes":
        _print_supernodes(console, result, arguments.top)
    else:
        _print_groups(console, result)
        _print_strongest(console, result, arguments.top)
    return 0


def _aggregate(arguments: Arguments) -> Aggregate:
    """Return what to compute; names that it is asked for are read before the work, not after it."""
    if arguments.of == "pairs":
        from pipeline.aggregates.coactivation import Coactivation
        from pipeline.sweep_model import recorded_model

        if arguments.feature is not None:
            parse_feature(arguments.feature, position="refused")
        find_model = partial(recorded_model, trust_remote_code=arguments.trust_remote_code)
        return Coactivation(arguments.min_support, find_model if arguments.weights else None)
    if arguments.of == "supernodes":
        from pipeline.aggregates.supernodes import Supernodes

        return Supernodes(arguments.by)
    from pipeline.aggregates.stats import GroupStatistics
    from pipeline.errors import ConfigurationError

    if not 0 < arguments.fdr <= 1:
        raise ConfigurationError(f"--fdr is {arguments.fdr}; it is a rate above 0 and at most 1.")
    return GroupStatistics(arguments.by, arguments.fdr, arguments.min_support, arguments.shuffle)


def _print_groups(console: Console, mined: AggregateResult) -> None:
    info = mined.manifest().info
    console.print(
        f"{sum(info['groups'].values()):,} prompts in {len(info['groups'])} groups"
        + (f"; {info['left_out']:,} have no value and are left out" if info["left_out"] else "")
    )
    _print_tables(console, mined)


def _print_tables(console: Console, mined: AggregateResult) -> None:
    manifest = mined.manifest()
    for table, files in manifest.files.items():
        kind, _, what = table.partition("_")
        of = f" of {manifest.info['tests'][kind]:,} tests" if what == "enrichment" else ""
        console.print(f"  {table}: {sum(file.rows for file in files):,} rows{of}")
    # Not wrapped: a line to copy.
    console.file.write(f"in {mined.url}/_aggregates/{mined.key}/<table>/*.parquet\n")


def _print_strongest(console: Console, mined: AggregateResult, top: int) -> None:
    from rich.table import Table

    found = mined.duckdb().execute(STRONGEST, {"top": top}).fetchall()
    if not found:
        console.print("no feature is tied to a group beyond chance")
        return
    table = Table(title="features most tied to each group")
    for name in ("group", "layer", "feature", "on its prompts", "on others", "log2 odds", "q"):
        table.add_column(name, justify="left" if name == "group" else "right", no_wrap=name == "group")
    for prompt_group, layer, feature, count, prompts, outside, odds, q in found:
        shares = (f"{count} of {prompts}", f"{outside:.1%}")
        table.add_row(prompt_group, str(layer), str(feature), *shares, f"{odds:.1f}", f"{q:.1e}")
    console.print(table)


def _print_pairs(console: Console, mined: AggregateResult, arguments: Arguments) -> None:
    from rich.table import Table

    _print_tables(console, mined)
    title, rows = _neighbours(mined, arguments) if arguments.feature else _strongest_pairs(mined, arguments)
    table = Table(title=title)
    for name in ("feature", "with", "active together", "Jaccard", "NPMI", "virtual weight", "TWERA"):
        table.add_column(name, justify="right")
    for one, other, n_coactive, *numbers in rows:
        table.add_row(one, other, f"{n_coactive:,}", *("" if n is None else f"{n:.3f}" for n in numbers))
    console.print(table)


def _strongest_pairs(mined: AggregateResult, arguments: Arguments) -> tuple[str, list[tuple]]:
    rows = mined.duckdb().execute(STRONGEST_PAIRS, {"top": arguments.top}).fetchall()
    return "strongest target-weighted expected effects (TWERA)", rows


def _neighbours(mined: AggregateResult, arguments: Arguments) -> tuple[str, list[tuple]]:
    from pipeline.aggregates.coactivation import neighbours

    name = parse_feature(arguments.feature, position="refused")
    found = neighbours(mined, name.layer, name.feature, arguments.top).to_pylist()
    named = [str(FeatureName(row.pop("layer"), row.pop("feature"))) for row in found]
    rows = [(arguments.feature, name, *row.values()) for name, row in zip(named, found, strict=True)]
    return f"neighbours of {arguments.feature}", rows


def _print_supernodes(console: Console, mined: AggregateResult, top: int) -> None:
    from rich.table import Table

    info = mined.manifest().info
    tables = mined.duckdb()
    counts = (
        "select count(distinct supernode), count(*), median(stability), avg((stability > 0.75)::int) "
        "from (select distinct on (supernode, layer, feature) * from supernodes where members > 1)"
    )
    groups, members, stable, share = tables.execute(counts).fetchall()[0]
    console.print(
        f"{members:,} of {info['features']:,} features are in {groups:,} supernodes of two or more; "
        f"stability: median {stable or 0:.2f}, above 0.75 for {share or 0:.0%} of these features"
    )
    _print_agreement(console, info["agreement"])
    _print_tables(console, mined)
    table = Table(title="largest supernodes")
    for name in ("number", "features", "similarity", "stability", "group", "most typical"):
        table.add_column(name, justify="left" if name in ("group", "most typical") else "right")
    for number, size, similarity, stability, prompt_group, named in tables.execute(
        LARGEST, {"top": top}
    ).fetchall():
        typical = " ".join(named.split()[:4])
        table.add_row(
            str(number), str(size), f"{similarity:.2f}", f"{stability:.2f}", prompt_group or "", typical
        )
    console.print(table)


def _print_agreement(console: Console, found: dict[str, Any] | None) -> None:
    if found is None:
        return
    console.print(
        f"{found['features']} features belong to one of {found['classes']} groups by themselves: adjusted "
        f"Rand index {found['adjusted_rand']:.2f}; {found['not_alone']:.0%} of them are not alone, of these "
        f"{found['purity']:.0%} with their own kind (by chance {found['purity_by_chance']:.0%}); "
        f"{found['supernodes_a_class']:.1f} supernodes a group"
    )
    by_class = found["purity_by_class"].items()
    console.print("purity: " + ", ".join(f"{name} {share:.2f}" for name, share in by_class))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
