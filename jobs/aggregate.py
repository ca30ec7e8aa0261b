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

from jobs._aggregate_report import TOKEN, Items, print_aggregate, tied
from jobs._command_line import parse
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command
from pipeline.errors import ConfigurationError
from pipeline.features import FeatureName, parse_feature

if TYPE_CHECKING:
    import duckdb

    from pipeline.aggregates import Aggregate, AggregateResult


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
    as their template; a cluster is one observation (default: one text, or the same traced tokens)."""

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

    items: Items = "features"
    """Of stats: what to show. Where nothing is tied to a group, what comes nearest, marked as such."""

    top: int = 5
    """Rows to show, of stats for each group; `query` shows whole tables."""

    rows: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)


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


def main(argv: list[str] | None = None) -> int:
    """Aggregate, print the strongest rows, and return 0."""
    arguments = parse(Arguments, argv, "aggregate", __doc__)

    from pipeline.aggregates import run_aggregate
    from pipeline.store import Output, labels_beside
    from pipeline.untrusted import Console

    aggregate = _aggregate(arguments)
    if arguments.rows.given:
        arguments.rows.chosen_format()  # a mistake is told before the work, not after it
    result = run_aggregate(arguments.source, aggregate, arguments.address)
    tables = result.duckdb()
    rows = _rows(result, tables, arguments)
    if arguments.rows.given:
        write_rows(rows, arguments.rows)
        return 0
    labels = labels_beside(Output(arguments.source).folder)
    print_aggregate(
        Console(highlight=False), result, tables, rows, arguments.items, arguments.feature, labels
    )
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


def _rows(
    result: AggregateResult, tables: duckdb.DuckDBPyConnection, arguments: Arguments
) -> duckdb.DuckDBPyRelation:
    """Return the rows that are shown."""
    if arguments.of == "stats":
        return tied(result, tables, arguments.items, arguments.top)
    if (name := _feature(arguments)) is None:
        question = LARGEST if arguments.of == "supernodes" else STRONGEST_PAIRS
        return tables.sql(question, params={"top": arguments.top})

    import duckdb

    from pipeline.aggregates.coactivation import neighbours

    found = duckdb.from_arrow(neighbours(result, name.layer, name.feature, arguments.top))
    return found.project(f"'{name}' as feature, layer || '/' || feature as other, * exclude (layer, feature)")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
