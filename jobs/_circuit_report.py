"""What `circuit-sweep discover` prints of circuits and of their tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from pipeline.store import AggregateResult
    from pipeline.untrusted import Console

CIRCUITS = "select * exclude (grouped_by) from circuits order by prompt_group, clusters desc, circuit"

TESTS = "select * exclude (grouped_by) from circuit_tests order by all"

SUPERNODES = """
    select supernode_name, count(*) as features, string_agg(layer || '/' || feature, ' ' order by share desc),
        max(share) as share
    from circuit_nodes where circuit = $circuit and kind = 'feature'
    group by supernode, supernode_name order by min(layer), supernode
"""

VERDICTS = """
    with own as (select * from circuit_tests where against is null)
    select c.circuit, n.prompts, n.clusters,
        n.value as necessity, m.low as beyond_low, m.high as beyond_high, m.is_shown, o.value as free,
        s.value as sufficiency, sr.value as sufficiency_replacement, x.low as harm_low, x.high as harm_high,
        x.is_shown as is_specific,
        (select count(*) from own where circuit = c.circuit and test = 'minimality' and mode = 'default'
            and is_shown) as needed, c.supernodes
    from circuits c
        join own n on n.circuit = c.circuit and n.test = 'necessity' and n.mode = 'default'
        join circuit_tests m on m.circuit = c.circuit and m.test = 'necessity' and m.mode = 'default'
            and m.against = 'matched'
        left join own o on o.circuit = c.circuit and o.test = 'necessity' and o.mode = 'open'
        left join own s on s.circuit = c.circuit and s.test = 'sufficiency' and s.mode = 'default'
        left join own sr on sr.circuit = c.circuit and sr.test = 'sufficiency' and sr.mode = 'replacement'
        left join own x on x.circuit = c.circuit and x.test = 'specificity'
    order by c.prompt_group, c.clusters desc, c.circuit
"""

MIN_WIDTH = {"n": 2, "- matched": 11, "suff.": 5, "others": 11, "shown": 5}
"""Characters of columns that a narrow terminal must not cut."""

KNOWN = """
    with used as (select * from circuit_support where is_used),
    by_circuit as (
        select prompt_group, circuit, count(*) as prompts, avg(share) as share from used group by all
    ), explained as (select prompt_group, count(distinct prompt_key) as explained from used group by all)
    select s.prompt_group, s.prompts, coalesce(e.explained, 0) as explained, b.circuit,
        coalesce(b.prompts, 0) as using_it, b.share
    from group_sizes s left join explained e using (prompt_group) left join by_circuit b using (prompt_group)
    order by s.prompt_group, using_it desc, b.circuit
"""

SHOWN_CIRCUITS = 5
"""Circuits of each group that are listed where they are known from elsewhere."""

SHOWN_FEATURES = 60
"""Characters of the list of a supernode's features."""


def print_circuits(console: Console, result: AggregateResult, tables: duckdb.DuckDBPyConnection) -> None:
    """Print each circuit with its supernodes, and what the search came to."""
    from rich.padding import Padding
    from rich.text import Text

    info = result.manifest().info
    found = tables.sql(CIRCUITS).to_arrow_table().to_pylist()
    for row in found:
        about = (
            f"{row['nodes']} features in {row['supernodes']} supernodes, {row['edges']} edges; in "
            f"{row['clusters']} of {row['group_clusters']} clusters, carries {row['share']:.0%}"
        )
        console.print(Text.assemble((row["circuit"], "bold"), f": {about}"))
        parts = tables.sql(SUPERNODES, params={"circuit": row["circuit"]}).fetchall()
        for name, features, listed, share in parts:
            shown = listed
            if len(listed) > SHOWN_FEATURES:
                shown = f"{listed[:SHOWN_FEATURES].rsplit(' ', 1)[0]} ..."
            console.print(Padding(Text(f"{share:4.0%}  {name}  [{features}: {shown}]"), (0, 0, 0, 2)))
    if without := sorted(set(info.groups) - {row["prompt_group"] for row in found}):
        console.print(f"no circuit in {', '.join(without)}.", markup=False)
    prompts = sum(info.groups.values())
    console.print(
        f"{len(found)} circuits in {len(info.groups)} groups, found in "
        f"{sum(info.discovery_clusters.values()):,} clusters; {sum(info.test_clusters.values()):,} are "
        f"kept for "
        f"tests. {info.recurring_edges:,} edges recur in a group, of {info.tested_edges:,} tested in each. "
        f"{info.seconds:.0f} s for {prompts:,} prompts.",
        markup=False,
    )
    console.print(LEGEND, markup=False)


def print_tests(console: Console, result: AggregateResult, tables: duckdb.DuckDBPyConnection) -> None:
    """Print a line for each circuit, and what the tests cost."""
    from rich.table import Table

    info = result.manifest().info
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    headings = ("", "n", "necessity", "- matched", "free", "suff.", "repl.", "others", "needed", "shown")
    for heading in headings:
        table.add_column(
            heading, justify="right" if heading else "left", no_wrap=True, min_width=MIN_WIDTH.get(heading)
        )
    rows = tables.sql(VERDICTS).to_arrow_table().to_pylist()
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    untested = info.circuits - len(rows)
    each = info.test_seconds / max(info.tested_prompts, 1)
    shown = sum(bool(row["is_shown"]) for row in rows)
    console.print(
        f"{shown} of {info.circuits} circuits are necessary beyond matched sets on prompts of the test half"
        + (f"; {untested} have no prompt there with anything at stake" if untested else "")
        + f". {info.tested_prompts:,} prompts run, {info.failed_prompts:,} failed; {each:.1f} s each.",
        markup=False,
    )
    warning = few_draws(int(result.identity["draws"]), len(rows), float(result.identity["fdr"]))
    if warning is not None:
        console.print(warning, markup=False)
    console.print(TEST_LEGEND, markup=False)


def few_draws(draws: int, circuits: int, fdr: float) -> str | None:
    """Return a warning where the draws are too few to show one circuit among those that were tested."""
    from math import ceil

    # Rounded, so that 2 * 3 / 0.05 is 120.
    enough = ceil(round(2 * circuits / fdr, 6)) - 1
    if draws >= enough:
        return None
    least = 2 / (draws + 1)
    needed = ceil(round(least * circuits / fdr, 6))
    return (
        f"The smallest p-value of {draws} draws is {least:.2g}, so that none is shown at a false discovery "
        f"rate of {fdr:g} unless at least {needed} of the {circuits} circuits have it: --draws {enough} "
        "would do."
    )


def group_sizes(result: AggregateResult) -> pa.Table:
    """Return the prompts of each group."""
    import pyarrow as pa

    sizes = result.manifest().info.groups
    return pa.table({"prompt_group": list(sizes), "prompts": list(sizes.values())})


def print_known(console: Console, tables: duckdb.DuckDBPyConnection) -> None:
    """Print which known circuits the prompts of each group use, and how many prompts none explains."""
    from itertools import groupby

    from rich.text import Text

    rows = tables.sql(KNOWN).to_arrow_table().to_pylist()
    for group, listed in groupby(rows, key=lambda row: row["prompt_group"]):
        of_group = list(listed)
        prompts, explained = of_group[0]["prompts"], of_group[0]["explained"]
        about = f": {prompts:,} prompts, {prompts - explained:,} that no known circuit explains"
        console.print(Text.assemble((group, "bold"), about))
        for row in [row for row in of_group if row["circuit"]][:SHOWN_CIRCUITS]:
            console.print(
                f"  {row['circuit']}: used by {row['using_it']:,}, carries {row['share']:.0%} there",
                markup=False,
            )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["circuit"],
        f"{row['clusters']}",
        _share(row["necessity"]),
        _interval(row["beyond_low"], row["beyond_high"]),
        _share(row["free"]),
        _share(row["sufficiency"]),
        _share(row["sufficiency_replacement"]),
        _interval(row["harm_low"], row["harm_high"]),
        f"{row['needed']}/{row['supernodes']}",
        "yes" if row["is_shown"] else "no",
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _interval(low: float | None, high: float | None) -> str:
    return "1 cluster" if low is None or high is None else f"{low:.2f}..{high:.2f}"


LEGEND = (
    "carries: share of the influence on the target that comes in over the circuit's edges, mean over its "
    "clusters; before a supernode the share that flows through its strongest feature. Named by the tokens "
    "that its features are on (their role) and the targets that they raise (->) or lower (-|)."
)

TEST_LEGEND = (
    "On the test half, as shares of what is at stake (the answer's logit less the rival's, less the same "
    "with all active features at 0); n: clusters. necessity: lost with the circuit at 0; - matched: by how "
    "much more than with matched sets, as 95% interval; free: the same with attention patterns free. suff.: "
    "left with all but the circuit at 0, and in the replacement run. others: what prompts of other groups "
    "lose. needed: supernodes that the circuit alone cannot go without. shown: beyond matched sets by "
    "interval and at the false discovery rate over the circuits. The rest is in circuit_tests: "
    "`circuit-sweep query`."
)
