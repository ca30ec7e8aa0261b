"""Find circuits that the prompts of a group share, and test them on prompts that had no part in finding them.

Clusters of prompts are split into two halves. In the discovery half features at roles and the edges between
them are kept that recur in a group beyond the others and beyond rewired graphs. Tables circuits,
circuit_nodes, circuit_edges and circuit_support are written into the output (`_aggregates/`), where a second
call with the same settings finds them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from jobs._command_line import parse
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command
from pipeline.circuits import Settings

if TYPE_CHECKING:
    import duckdb

    from pipeline.aggregates import AggregateResult
    from pipeline.untrusted import Console


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

    address: str | None = None
    """Ray cluster to join (default: RAY_ADDRESS, else a Ray on this machine)."""

    rows: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)


def main(argv: list[str] | None = None) -> int:
    """Find circuits, print them, and return 0."""
    arguments = parse(Arguments, argv, "discover", __doc__)

    from pipeline.aggregates import Grouping
    from pipeline.circuits import discover
    from pipeline.untrusted import Console

    if arguments.rows.given:
        arguments.rows.chosen_format()  # a mistake is told before the work, not after it
    grouping = Grouping(arguments.by, arguments.where, arguments.labels, arguments.cluster)
    result = discover(arguments.source, grouping, arguments.settings, arguments.address)
    tables = result.duckdb()
    if arguments.rows.given:
        write_rows(tables.sql(CIRCUITS), arguments.rows)
        return 0
    _print(Console(highlight=False), result, tables)
    return 0


CIRCUITS = "select * exclude (grouped_by) from circuits order by prompt_group, clusters desc, circuit"

SUPERNODES = """
    select supernode_name, count(*) as features, string_agg(layer || '/' || feature, ' ' order by share desc),
        max(share) as share
    from circuit_nodes where circuit = $circuit and kind = 'feature'
    group by supernode, supernode_name order by min(layer), supernode
"""

SHOWN_FEATURES = 60
"""Characters of the list of a supernode's features."""


def _print(console: Console, result: AggregateResult, tables: duckdb.DuckDBPyConnection) -> None:
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
            shown = (
                listed
                if len(listed) <= SHOWN_FEATURES
                else f"{listed[:SHOWN_FEATURES].rsplit(' ', 1)[0]} ..."
            )
            console.print(Padding(Text(f"{share:4.0%}  {name}  [{features}: {shown}]"), (0, 0, 0, 2)))
    without = sorted(set(info.groups) - {row["prompt_group"] for row in found})
    if without:
        console.print(f"no circuit in {', '.join(without)}.", markup=False)
    console.print(
        f"{len(found)} circuits in {len(info.groups)} groups, found in "
        f"{sum(info.discovery_clusters.values()):,} "
        f"clusters; {sum(info.test_clusters.values()):,} are kept for tests. {info.recurring_edges:,} "
        f"edges recur "
        f"in a group, of {info.tested_edges:,} tested in each. {info.seconds:.0f} s.",
        markup=False,
    )
    console.print(LEGEND, markup=False)


LEGEND = (
    "carries: share of the influence on the target that comes in over the circuit's edges, mean over its "
    "clusters; before a supernode the share that flows through its strongest feature. Named by the tokens "
    "that its features are on (their role) and the targets that they raise (->) or lower (-|)."
)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
