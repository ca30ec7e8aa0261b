"""Groups of a sweep's prompts, and the clusters that they come in.

Groups are by a column or an expression of `graphs`, or by labels that came later. Clusters hold prompts that
repeat one another, which no test may count as independent: the same tokens, positions of one text, or what
the user names.

Nobody sweeps again to group differently. An expression is DuckDB's SQL over the columns of `graphs`, and
over those of a table of labels that is joined by the text's id; it is evaluated where no file and no network
can be reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_128_hexdigest

from pipeline.aggregates.expressions import checked_expression
from pipeline.errors import ConfigurationError
from pipeline.store import Snapshot, open_database
from pipeline.store.commits import read_reports

ALL = "all"
"""Name of the only group where prompts are not grouped."""

NESTED = ("list", "struct", "tuple", "map", "array", "union")
"""DuckDB's types of several values."""

CLUSTER = "min(sequence_key) over (partition by token_ids)"
"""Prompts that no test counts as independent where nobody says otherwise: positions of one text, and the same
tokens. A trace that several texts begin with belongs to one of them."""

SHOWN = 5
"""Ids that a message names."""

GROUPS = """
    select prompt_key, positions, {group} as prompt_group, {where} as counts, {cluster} as cluster,
        {within} as stratum, token_ids
    from graphs {labels}
"""

REPEATED = """
    select count(*) <> (select count(*) from graphs) or count(*) <> count(distinct prompt_key)
    from ({groups})
"""

CHOSEN = """
    select prompt_key, positions, nullif(prompt_group::varchar, '') as prompt_group,
        -- A prompt without a value is a cluster of its own.
        dense_rank() over (order by coalesce(cluster::varchar, 'no cluster: ' || prompt_key)) - 1 as cluster,
        md5(coalesce(cluster::varchar, 'no cluster: ' || prompt_key)) as cluster_hash,
        coalesce(stratum::varchar, '') as stratum, token_ids,
        row_number() over (partition by prompt_group::varchar, token_ids order by prompt_key) = 1 as first
    from ({groups})
    where counts
    order by prompt_key
"""


@dataclass(frozen=True)
class Grouping:
    """Choice of prompts, and the groups that they fall into."""

    by: str | None = None
    """Column of `graphs` or of the labels, or an SQL expression over them; None for one group."""

    where: str | None = None
    """SQL condition over the same columns that prompts must meet."""

    labels: Path | None = None
    """Parquet or CSV file with a column `id`, whose other columns are joined to `graphs`."""

    cluster: str | None = None
    """Column or expression that prompts which repeat one another share; None for one text, or its tokens."""

    within: str | None = None
    """Column or expression; prompts are compared with those that share its value only. None: with all."""

    @property
    def expressions(self) -> dict[str, str]:
        """SQL that was given, by the option that gives it."""
        given = {
            "--by": self.by,
            "--where": self.where,
            "--cluster": self.cluster,
            "--within": self.within,
        }
        return {option: text for option, text in given.items() if text is not None}

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the groups; of labels the content, since the file may be moved."""
        content = None if self.labels is None else xxh3_128_hexdigest(_read(self.labels))
        return {
            "by": self.by,
            "where": self.where,
            "labels": content,
            "cluster": self.cluster,
            "within": self.within,
        }

    @property
    def description(self) -> str:
        """Words for the groups in aggregate tables: `family`, `topic of labels.csv where positions > 9`."""
        of = f" of {self.labels.name}" if self.labels is not None else ""
        where = f" where {self.where}" if self.where is not None else ""
        return f"{self.by or ALL}{of if self.by else ''}{where}"


@dataclass(frozen=True)
class Groups:
    """The prompts that belong to a group."""

    rows: pa.Table
    """A row a prompt: `prompt_key`, `prompt_group`, `positions` (tokens of the prompt), `cluster` (a number),
    `cluster_hash` (the same in every state of the sweep), `stratum`, `token_ids`, and `first`: true for one
    prompt of each group's that have the same tokens."""

    left_out: int
    """Prompts whose value is null or empty: they belong to no group and are not counted."""

    @property
    def sizes(self) -> dict[str, int]:
        """Prompts of each group, by its name."""
        counted = pc.value_counts(self.rows["prompt_group"]).to_pylist()
        return {row["values"]: row["counts"] for row in sorted(counted, key=lambda row: row["values"])}


def read_groups(snapshot: Snapshot, grouping: Grouping) -> Groups:
    """Find each prompt's group.

    Raises:
        ConfigurationError: an expression is not one or names no column, the labels do not fit the sweep, or
            no prompt is left.

    """
    # Nothing but these tables can be read: an expression that names a file is refused.
    confined = {"enable_external_access": False, "python_enable_replacements": False}
    with open_database(confined) as connection:
        connection.register("graphs", snapshot.dataset("graphs"))
        columns = [*snapshot.schemas["graphs"].names]
        if grouping.labels is not None:
            labels = _read_labels(grouping.labels, snapshot)
            connection.register("labels", labels.rename_columns({"id": "sequence"}))
            columns += [name for name in labels.column_names if name != "id"]
        expressions = {
            option: checked_expression(option, text, columns) for option, text in grouping.expressions.items()
        }
        query = GROUPS.format(
            group=expressions.get("--by", f"'{ALL}'"),
            where=expressions.get("--where", "true"),
            cluster=expressions.get("--cluster", CLUSTER),
            within=expressions.get("--within", "''"),
            labels="left join labels using (sequence)" if grouping.labels else "",
        )
        rows = _evaluated(connection, query, grouping, columns)
    found = rows.filter(pc.field("prompt_group").is_valid())
    if not found.num_rows:
        raise ConfigurationError(_why_none(snapshot.folder.url, grouping, rows.num_rows))
    return Groups(found, rows.num_rows - found.num_rows)


def _evaluated(
    connection: duckdb.DuckDBPyConnection, query: str, grouping: Grouping, columns: list[str]
) -> pa.Table:
    try:
        relation = connection.sql(query)
        kinds = {"--by": relation.types[2], "--where": relation.types[3]}
        if len(relation.types) != 7 or kinds["--by"].id in NESTED:
            raise ConfigurationError(
                f"--by {grouping.by!r} gives each prompt more than one value ({kinds['--by']}): take a part "
                f"of it, or one of the columns {', '.join(reversed(columns))}."
            )
        if kinds["--where"].id != "boolean":
            raise ConfigurationError(
                f"--where {grouping.where!r} is no condition: its value is {kinds['--where']}, "
                "not true or false."
            )
        (repeated,) = connection.sql(REPEATED.format(groups=query)).fetchall()[0]
        if repeated:
            asked = " or ".join(f"{o} {t!r}" for o, t in grouping.expressions.items())
            raise ConfigurationError(
                f"{asked} does not give exactly one value for each prompt: `unnest` and its like give none "
                "or several. Take one element, such as `tokens[1]`."
            )
        return connection.sql(CHOSEN.format(groups=query)).to_arrow_table()
    except duckdb.Error as error:
        asked = " and ".join(f"{option} {text!r}" for option, text in grouping.expressions.items())
        problem = str(error).splitlines()[0].partition(": ")[2]
        raise ConfigurationError(
            f"{asked} cannot be evaluated over the prompts: {problem} "
            f"Columns: {', '.join(reversed(columns))}. "
            "`prompts.columns` of the sweep file keeps columns of the prompts' file; --labels joins others."
        ) from error


def _why_none(url: str, grouping: Grouping, prompts: int) -> str:
    if not prompts and grouping.where is None:
        return f"{url} holds no graph yet: run its sweep first."
    if not prompts:
        return f"--where {grouping.where!r} holds for no prompt of {url}."
    return f"--by {grouping.by!r} has no value for any prompt of {url}."


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"--labels {path} cannot be read: {error.strerror}.") from error


def _read_labels(path: Path, snapshot: Snapshot) -> pa.Table:
    """Read a table of labels and check it against the sweep.

    Raises:
        ConfigurationError: it cannot be read, has no `id`, has an id twice, or ids that the sweep never met.

    """
    labels = _parsed(path)
    graphs = {name.lower() for name in snapshot.schemas["graphs"].names} - {"id"}
    if both := [name for name in labels.column_names if name.lower() in graphs]:  # as DuckDB compares them
        raise ConfigurationError(
            f"--labels {path}: `graphs` has columns {', '.join(both)} too; rename them in the file."
        )
    counts = pc.value_counts(labels["id"]).to_pylist()
    if repeated := [row["values"] for row in counts if row["counts"] > 1]:
        raise ConfigurationError(
            f"--labels {path}: {_named(repeated)} occur more than once; give each prompt one row."
        )
    if unknown := _unknown(labels["id"], snapshot):
        raise ConfigurationError(
            f"--labels {path}: {_named(unknown)}, of {labels.num_rows:,}, belong to no prompt of "
            f"{snapshot.folder.url}. Ids are those of the prompts' file: remove these rows, or check that "
            "the labels are of this sweep."
        )
    return labels


def _parsed(path: Path) -> pa.Table:
    _read(path)
    is_parquet = path.suffix.lower() in (".parquet", ".pq")
    read = f"read_{'parquet' if is_parquet else 'csv'}($path{{}})"  # a CSV's separator is found out
    try:
        names = duckdb.sql(f"from {read.format('')}", params={"path": str(path)}).columns
        if (name := next((n for n in names if n.lower() == "id"), None)) is None:
            raise ConfigurationError(
                f"--labels {path} has no column `id` to join by; its columns are {', '.join(names)}."
            )
        # As text: 007 is a name, not a number.
        quoted = name.replace("'", "''")
        options = "" if is_parquet else f", types = {{'{quoted}': 'varchar'}}"
        sql = f'select * exclude ("{name}"), "{name}"::varchar as id from {read.format(options)}'
        return duckdb.sql(sql, params={"path": str(path)}).to_arrow_table()
    except duckdb.Error as error:
        raise ConfigurationError(
            f"--labels {path} cannot be read as {'Parquet' if is_parquet else 'CSV'}: "
            f"{str(error).splitlines()[0]}."
        ) from error


def _unknown(ids: pa.ChunkedArray, snapshot: Snapshot) -> list[str]:
    """Return the ids that have no graph, did not fail, and do not share another prompt's graph."""
    known: set[str] = set()
    for table, column in (("graphs", "sequence"), ("failures", "id")):
        known.update(snapshot.dataset(table).to_table(columns=[column])[column].to_pylist())
    for report in read_reports(snapshot.folder):
        known.update(report.repeated_keys)
    return [id for id in ids.to_pylist() if id not in known]


def _named(ids: list[str]) -> str:
    shown = ", ".join(map(repr, ids[:SHOWN]))
    return f"{len(ids):,} id{'s' if len(ids) > 1 else ''} ({shown}{', ...' if len(ids) > SHOWN else ''})"
