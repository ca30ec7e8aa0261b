"""Aggregate a sweep over groups of its prompts: statistics, what is tied to a group, what acts together.

Of `stats`: feature_stats, edge_stats, feature_enrichment, edge_enrichment. Of `pairs`: feature_pairs, which
features are active together and what one does to the other there. Of `supernodes`: supernodes, features
that act alike over the prompts, compared to the groups of `--by`. The tables are written into the output
(`_aggregates/`), where a second call with the same settings finds them, and `query` shows those of the last
call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jobs._command_line import parse
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command
from pipeline.errors import ConfigurationError
from pipeline.features import FeatureName, parse_feature

if TYPE_CHECKING:
    import duckdb

    from pipeline.aggregates import Aggregate, AggregateResult
    from pipeline.store import Candidate, SupernodesInfo, WayInfo
    from pipeline.untrusted import Console


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep: a folder or an `s3://` URL."""

    of: Literal["stats", "pairs", "supernodes"] = "stats"
    """Kind of aggregate."""

    by: str | None = None
    """Of stats and supernodes: column of `graphs` or of --labels that groups the prompts, or an SQL
    expression such as "prediction = answer" (default: one group)."""

    where: str | None = None
    """SQL condition over the same columns that prompts must meet to count."""

    labels: Path | None = None
    """Parquet or CSV file with a column `id`, whose other columns --by, --where, --cluster and
    --within may use."""

    cluster: str | None = None
    """Of stats and supernodes: column or expression whose value prompts share that repeat one another, such
    as their template; a cluster is one observation (default: the same traced tokens)."""

    within: str | None = None
    """Of stats: column or expression, or `token`: compare clusters only with those that share its value, or
    the token that a feature is on; keeps what merely detects a token from counting as tied to a group."""

    fdr: float = 0.05
    """Of stats: false discovery rate at which a feature or an edge counts as tied to a group."""

    min_support: int = 5
    """Clusters that must have a feature or an edge for it to be tested; of pairs, positions that both must
    share."""

    weights: bool = True
    """Of pairs: load the model and its transcoders for the weights between them."""

    trust_remote_code: bool = False
    """Of pairs: run Python code that the model's repository brings, if the sweep did."""

    feature: str | None = None
    """Of pairs: show this feature's neighbours, named `layer/feature`."""

    shuffle: int | None = None
    """Of stats: shuffle the groups over the clusters first, with this seed: a check that should find next to
    nothing."""

    address: str | None = None
    """Ray cluster to join (default: RAY_ADDRESS, else a Ray on this machine)."""

    top: int = 5
    """Rows to show, of stats for each group; `query` shows whole tables."""

    rows: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)


TOKEN = "token"
"""Strata that are no column: the tokens that features are on."""

TEXTS = """
    select token_id, any_value(token) as token
    from (select unnest(token_ids) as token_id, unnest(tokens) as token from graphs)
    group by token_id
"""

STRONGEST = f"""
    with texts as ({TEXTS})
    select prompt_group, layer, feature, clusters_with, clusters, rate_outside, log2_odds, q_value,
        token, token_share, grouped_by
    from feature_enrichment left join texts on token_id = top_token_id
    where log2_odds > 0
    qualify row_number() over (partition by prompt_group order by p_value, log2_odds desc) <= $top
    order by prompt_group, p_value, log2_odds desc
"""

STRONGEST_PAIRS = """
    select source_layer || '/' || source_feature as feature, target_layer || '/' || target_feature as other,
        n_coactive, jaccard, npmi, virtual_weight, twera
    from feature_pairs
    order by abs(twera) desc nulls last, npmi desc
    limit $top
"""

LARGEST = """
    select supernode, any_value(members) as members, avg(similarity) as similarity,
        any_value(stability) as stability, any_value(is_stable) as is_stable,
        mode(prompt_group) as prompt_group,
        string_agg(layer || '/' || feature, ' ' order by similarity desc) as features
    from supernodes
    where members > 1
    group by supernode
    order by supernode
    limit $top
"""

COUNTS = """
    select count(distinct supernode), count(*), count(distinct supernode) filter (is_stable)
    from supernodes
    where members > 1
"""


def main(argv: list[str] | None = None) -> int:
    """Aggregate, print the strongest rows, and return 0."""
    arguments = parse(Arguments, argv, "aggregate", __doc__)

    from pipeline.aggregates import run_aggregate
    from pipeline.untrusted import Console

    aggregate = _aggregate(arguments)
    if arguments.rows.given:
        arguments.rows.chosen_format()  # a mistake is told before the work, not after it
    result = run_aggregate(arguments.source, aggregate, arguments.address)
    shown, tables = _shown(result, arguments), result.duckdb()
    rows = shown if not isinstance(shown, str) else tables.sql(shown, params={"top": arguments.top})
    if arguments.rows.given:
        write_rows(rows, arguments.rows)
        return 0
    console = Console(highlight=False)
    if arguments.of == "pairs":
        _print_tables(console, result)
        _print_pairs(console, rows.fetchall(), arguments.feature)
    elif arguments.of == "supernodes":
        _print_counts(console, tables, result)
        _print_tables(console, result)
        _print_supernodes(console, rows.fetchall())
    else:
        _print_groups(console, result)
        _print_tables(console, result)
        if near := result.manifest().info.nearest:
            _print_nearest(console, tables, near)
        else:
            _print_strongest(console, rows.fetchall(), "features most tied to each group")
    return 0


def _aggregate(arguments: Arguments) -> Aggregate:
    """Return the aggregate that is asked for, once all of its options are known to fit."""
    from pipeline.aggregates import Grouping

    grouping = Grouping(
        arguments.by,
        arguments.where,
        arguments.labels,
        arguments.cluster,
        None if arguments.within == TOKEN else arguments.within,
    )
    for option, kinds in (("cluster", ("stats", "supernodes")), ("within", ("stats",))):
        if arguments.of not in kinds and (given := getattr(arguments, option)) is not None:
            raise ConfigurationError(
                f"--{option} {given!r} is of {' and '.join(kinds)}, not of {arguments.of}."
            )
    if arguments.of == "pairs":
        from pipeline.aggregates.coactivation import Coactivation
        from pipeline.sweep_model import recorded_model

        if arguments.by is not None:
            raise ConfigurationError(
                f"--by {arguments.by!r}: pairs are of all prompts together; choose prompts with --where."
            )
        _feature(arguments)
        find_model = partial(recorded_model, trust_remote_code=arguments.trust_remote_code)
        return Coactivation(grouping, arguments.min_support, find_model if arguments.weights else None)
    if arguments.of == "supernodes":
        from pipeline.aggregates.supernodes import Supernodes

        return Supernodes(grouping)
    from pipeline.aggregates.stats import GroupStatistics

    if not 0 < arguments.fdr <= 1:
        raise ConfigurationError(f"--fdr is {arguments.fdr}; it is a rate above 0 and at most 1.")
    return GroupStatistics(
        grouping, arguments.fdr, arguments.min_support, arguments.within == TOKEN, arguments.shuffle
    )


def _feature(arguments: Arguments) -> FeatureName | None:
    return None if arguments.feature is None else parse_feature(arguments.feature, position="refused")


def _shown(result: AggregateResult, arguments: Arguments) -> str | duckdb.DuckDBPyRelation:
    """Return the rows that are shown, or the query for them."""
    if arguments.of == "supernodes":
        return LARGEST
    if arguments.of == "stats":
        return STRONGEST
    if (name := _feature(arguments)) is None:
        return STRONGEST_PAIRS

    import duckdb

    from pipeline.aggregates.coactivation import neighbours

    found = duckdb.from_arrow(neighbours(result, name.layer, name.feature, arguments.top))
    return found.project(f"'{name}' as feature, layer || '/' || feature as other, * exclude (layer, feature)")


def _print_groups(console: Console, result: AggregateResult) -> None:
    info = result.manifest().info
    console.print(
        f"{sum(info.groups.values()):,} prompts in {len(info.groups)} groups by {result.grouped_by}"
        + (f"; {info.left_out:,} have no value and are left out" if info.left_out else "")
    )
    of = result.identity["cluster"] or "the same traced tokens"
    within = TOKEN if result.identity["within_token"] else result.identity["within"]
    lines = [
        f"tested over {sum(info.clusters.values()):,} clusters ({of})",
        f" within {within}" if within else "",
    ]
    if info.mixed_clusters:
        lines.append(
            f"; {info.mixed_clusters:,} of them lie in several groups and count in that of most prompts"
        )
    console.print("".join(lines))


def _print_tables(console: Console, result: AggregateResult) -> None:
    manifest = result.manifest()
    for table, files in manifest.files.items():
        kind, _, what = table.partition("_")
        of = f" of {manifest.info.tests[kind]:,} tests" if what == "enrichment" else ""
        console.print(f"  {table}: {sum(file.rows for file in files):,} rows{of}")
    # Not wrapped: a line to copy.
    console.file.write(f"in {result.url}/_aggregates/{result.key}/<table>/*.parquet\n")


def _print_nearest(console: Console, tables: duckdb.DuckDBPyConnection, near: tuple[Candidate, ...]) -> None:
    """Show the features that come nearest to being tied to a group, marked as what they are."""
    texts = dict(tables.sql(TEXTS).fetchall())
    rows = [
        (
            *(one.prompt_group, one.layer, one.feature, one.clusters_with, one.clusters, one.rate_outside),
            *(one.log2_odds, one.q_value, texts[one.top_token_id], one.token_share, None),
        )
        for one in near
    ]
    console.print("no feature is tied to a group beyond chance")
    _print_strongest(console, rows, "NOT significant: the nearest candidates, of which nothing was shown")


def _print_strongest(console: Console, rows: list[tuple], title: str) -> None:
    from rich.table import Table

    if not rows:
        console.print("no feature is tied to a group beyond chance")
        return
    table = Table(title=title)
    for name in ("group", "feature", "on its clusters", "on others", "log2 odds", "q", "on one token"):
        table.add_column(name, justify="left" if name == "group" else "right", no_wrap=name == "group")
    for group, layer, feature, count, clusters, outside, odds, q, token, share, _ in rows:
        shares = (f"{count} of {clusters}", f"{outside:.1%}")
        table.add_row(
            group,
            str(FeatureName(layer, feature)),
            *shares,
            f"{odds:.1f}",
            f"{q:.1e}",
            f"{share:.0%} {token}",
        )
    console.print(table)


def _print_pairs(console: Console, rows: list[tuple], feature: str | None) -> None:
    from rich.table import Table

    title = f"neighbours of {feature}" if feature else "strongest target-weighted expected effects (TWERA)"
    table = Table(title=title)
    for name in ("feature", "with", "active together", "Jaccard", "NPMI", "virtual weight", "TWERA"):
        table.add_column(name, justify="right")
    for one, other, n_coactive, *numbers in rows:
        table.add_row(one, other, f"{n_coactive:,}", *("" if n is None else f"{n:.3f}" for n in numbers))
    console.print(table)


def _print_counts(console: Console, tables: duckdb.DuckDBPyConnection, result: AggregateResult) -> None:
    info = result.manifest().info
    supernodes, members, stable = tables.execute(COUNTS).fetchall()[0]
    console.print(
        f"{members:,} of {info.features:,} features are in {supernodes:,} supernodes of two or more, found "
        f"on {info.prompts - info.held_out:,} prompts; {stable:,} of these are stable on the "
        f"{info.held_out:,} held-out prompts. Of the others nothing was shown."
    )
    _print_ways(console, info)


def _print_ways(console: Console, info: SupernodesInfo) -> None:
    """Show both ways side by side, chosen by half of the prompts and judged by the other half."""
    from rich.table import Table

    ways = info.ways
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("compared by")
    for number, way in enumerate(ways):
        table.add_column(way.profile + (" (chosen)" if not number else ""), justify="right")
    rows: list[tuple[str, list[str]]] = [
        ("least similarity", [f"{way.min_similarity:g}" for way in ways]),
        ("found again on held-out prompts (Rand)", [f"{way.found_again:.2f}" for way in ways]),
        ("features not alone", [f"{way.not_alone:.0%}" for way in ways]),
        ("features in stable supernodes", [f"{way.stable:.0%}" for way in ways]),
    ]
    if all(way.agreement for way in ways):
        rows += _agreement(ways)
    for name, values in rows:
        table.add_row(name, *values)
    console.print(table)
    chosen, other = ways
    if chosen.profile == "activity":
        console.print(
            "what drives features and what they drive was not shown to add to where they are active"
        )
    elif chosen.found_again <= other.found_again:
        console.print("on held-out prompts activity alone does as well as the profile that was chosen")
    if (found := chosen.agreement) is not None:
        by_class = found.purity_by_class.items()
        console.print(
            f"{found.features} features belong to one of {found.classes} groups by themselves, on held-out "
            "prompts; purity: " + ", ".join(f"{name} {share:.2f}" for name, share in by_class)
        )


def _agreement(ways: tuple[WayInfo, ...]) -> list[tuple[str, list[str]]]:
    """Return the rows that say how supernodes agree with classes that held-out prompts give."""
    found = [way.agreement for way in ways if way.agreement is not None]
    return [
        ("agreement with groups (Rand)", [f"{each.adjusted_rand:.2f}" for each in found]),
        (
            "with their own kind (by chance)",
            [f"{each.purity:.0%} ({each.purity_by_chance:.0%})" for each in found],
        ),
        ("supernodes a group", [f"{each.supernodes_a_class:.1f}" for each in found]),
    ]


def _print_supernodes(console: Console, rows: list[tuple]) -> None:
    from rich.table import Table

    table = Table(title="largest supernodes")
    for name in ("number", "features", "similarity", "stability", "group", "most typical"):
        table.add_column(name, justify="left" if name in ("group", "most typical") else "right")
    for number, size, similarity, stability, is_stable, group, features in rows:
        typical = " ".join(features.split()[:4])
        stable = f"{stability:.2f}" if is_stable else f"unstable {stability:.2f}"
        table.add_row(str(number), str(size), f"{similarity:.2f}", stable, group or "", typical)
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
