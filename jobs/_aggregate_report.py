"""What `circuit-sweep aggregate` shows of its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from jobs._labels import Labels, labelled
from pipeline.features import FeatureName, parse_feature
from schemas import AGGREGATE_TABLES

if TYPE_CHECKING:
    import duckdb

    from pipeline.aggregates import AggregateResult
    from pipeline.store import SupernodesInfo, WayInfo
    from pipeline.untrusted import Console

Items = Literal["features", "edges"]

TOKEN = "token"
"""Strata that are no column: the tokens that features are on."""

TEXTS = """
    select token_id, any_value(token) as token
    from (select unnest(token_ids) as token_id, unnest(tokens) as token from graphs)
    group by token_id
"""

TIED = """
    with texts as materialized ({texts})
    select prompt_group, {item}, clusters_with, clusters, rate_outside, log2_odds, q_value,
        texts.token, token_share, {significant} as is_significant
    from {rows} r left join texts on texts.token_id = r.top_token_id {joins}
    {choice}
"""

STRONGEST = """
    where log2_odds > 0
    qualify row_number() over (partition by prompt_group order by p_value, log2_odds desc) <= $top
    order by prompt_group, p_value, log2_odds desc
"""

ON_ONE_TOKEN = "select count(*), avg((token_share >= 0.9)::int) from {}_enrichment"

NEAREST = "order by q_value, log2_odds desc limit $top"

ITEM = {
    "features": ("layer, feature", ""),
    "edges": (
        "source_kind, source_layer, source_feature, s.token as source_token, "
        "target_kind, target_layer, target_feature, t.token as target_token",
        "left join texts s on s.token_id = r.source_token_id "
        "left join texts t on t.token_id = r.target_token_id",
    ),
}
"""Columns that name an item, and the joins that give tokens their text."""

COUNTS = """
    select count(distinct supernode), count(*), count(distinct supernode) filter (is_stable)
    from supernodes
    where members > 1
"""


def tied(
    result: AggregateResult, tables: duckdb.DuckDBPyConnection, items: Items, top: int
) -> duckdb.DuckDBPyRelation:
    """Return what is most tied to each group; where nothing is, what comes nearest, and says so."""
    kind = items.removesuffix("s")
    rows, item, joins = f"{kind}_enrichment", *ITEM[items]
    near = result.manifest().info.nearest.get(kind, ())
    if near:
        schema = AGGREGATE_TABLES[rows].schema
        rows = f"nearest_{kind}"
        named = [pa.field(field.name, field.type) for field in schema if field.name != "grouped_by"]
        tables.register(rows, pa.Table.from_pylist([dict(row) for row in near], pa.schema(named)))
    question = TIED.format(
        texts=TEXTS,
        item=item,
        significant="false" if near else "true",
        rows=rows,
        joins=joins,
        choice=NEAREST if near else STRONGEST,
    )
    return tables.sql(question, params={"top": top})


def print_aggregate(
    console: Console,
    result: AggregateResult,
    tables: duckdb.DuckDBPyConnection,
    rows: duckdb.DuckDBPyRelation,
    items: Items,
    feature: str | None,
    labels: Labels,
) -> None:
    """Print a result: its tables, and the rows that are most worth a look."""
    kinds = result.manifest().files.keys()
    if "feature_pairs" in kinds:
        _print_tables(console, result)
        _print_pairs(console, rows.fetchall(), feature, labels)
    elif "supernodes" in kinds:
        _print_counts(console, tables, result)
        _print_tables(console, result)
        _print_supernodes(console, rows.fetchall(), labels)
    else:
        _print_groups(console, result)
        _print_tables(console, result)
        _print_tied(console, rows.to_arrow_table().to_pylist(), items, labels)
        count, share = tables.execute(ON_ONE_TOKEN.format(items.removesuffix("s"))).fetchall()[0]
        if count:
            console.print(
                f"{share:.0%} of the {count:,} {items} tied to groups have 90% or more of their activations "
                "on one token: they may be no more than detectors of it (--within token)"
            )


def _print_groups(console: Console, result: AggregateResult) -> None:
    info = result.manifest().info
    console.print(
        f"{sum(info.groups.values()):,} prompts in {len(info.groups)} groups by {result.grouped_by}"
        + (f"; {info.left_out:,} have no value and are left out" if info.left_out else "")
    )
    of = result.identity["cluster"] or "one text, or the same traced tokens"
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


def _print_tied(console: Console, rows: list[dict], items: Items, labels: Labels) -> None:
    """Show what is most tied to each group or, where nothing is, what comes nearest, marked as what it is."""
    from rich.table import Table

    title = f"{items} most tied to each group"
    if not rows or not rows[0]["is_significant"]:
        console.print(f"no {items.removesuffix('s')} is tied to a group beyond chance")
        title = "NOT significant: the nearest candidates, of which nothing was shown"
    if not rows:
        return
    table = Table(title=title)
    item = items.removesuffix("s")
    for name in ("group", item, "on its clusters", "on others", "log2 odds", "q", "on one token"):
        table.add_column(name, justify="left" if name == "group" else "right", no_wrap=name == "group")
    for row in rows:
        table.add_row(
            row["prompt_group"],
            _named(row, labels),
            f"{row['clusters_with']} of {row['clusters']}",
            f"{row['rate_outside']:.1%}",
            f"{row['log2_odds']:.1f}",
            f"{row['q_value']:.1e}",
            f"{row['token_share']:.0%} {row['token']}",
        )
    console.print(table)


def _named(row: dict, labels: Labels) -> str:
    """Name a row's feature, or both ends of its edge."""
    if "layer" in row:
        return labelled(labels, FeatureName(row["layer"], row["feature"]))
    return f"{_end(row, 'source', labels)} to {_end(row, 'target', labels)}"


def _end(row: dict, side: str, labels: Labels) -> str:
    kind, layer, feature = (row[f"{side}_{name}"] for name in ("kind", "layer", "feature"))
    if feature is not None:
        return labelled(labels, FeatureName(layer, feature))
    return f"{kind} {layer}" if row[f"{side}_token"] is None else f"{kind} {row[f'{side}_token']!r}"


def _print_pairs(console: Console, rows: list[tuple], feature: str | None, labels: Labels) -> None:
    from rich.table import Table

    title = f"neighbours of {feature}" if feature else "strongest target-weighted expected effects (TWERA)"
    table = Table(title=title)
    for name in ("feature", "with", "active together", "Jaccard", "NPMI", "virtual weight", "TWERA"):
        table.add_column(name, justify="right")
    for first, second, n_coactive, *numbers in rows:
        one, other = (labelled(labels, parse_feature(name)) for name in (first, second))
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


def _print_supernodes(console: Console, rows: list[tuple], labels: Labels) -> None:
    from rich.table import Table

    table = Table(title="largest supernodes")
    for name in ("number", "features", "similarity", "stability", "group", "most typical"):
        table.add_column(name, justify="left" if name in ("group", "most typical") else "right")
    for number, size, similarity, stability, is_stable, group, features in rows:
        typical = ", ".join(labelled(labels, parse_feature(name)) for name in features.split()[:4])
        stable = f"{stability:.2f}" if is_stable else f"unstable {stability:.2f}"
        table.add_row(str(number), str(size), f"{similarity:.2f}", stable, group or "", typical)
    console.print(table)
