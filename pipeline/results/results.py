"""One state of a sweep's output, to be asked with the tools that people already use.

A state is fixed when it is first asked for: all answers of one `Results` fit together, whatever a running
sweep commits meanwhile. Make another one to see what is new.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from copy import copy
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from pipeline.builtin import resolve
from pipeline.errors import QueryError, StoreError
from pipeline.results.choice import ProjectionChoice
from pipeline.store import (
    FeatureLabel,
    Moment,
    Output,
    Snapshot,
    current_aggregates,
    labels_beside,
    note_tables,
    open_database,
)
from schemas import AGGREGATE_TABLES, CIRCUIT_TABLES, DIFF_TABLES, TRAINING

if TYPE_CHECKING:
    import polars


T = TypeVar("T")

MADE_BY = {
    **dict.fromkeys(("faithfulness", "validations", "validation_failures"), "validate {url}"),
    **dict.fromkeys(("pairs", "pair_effects", "pairs_failures"), "pairs {url}"),
    **dict.fromkeys(AGGREGATE_TABLES, "aggregate {url}"),
    "feature_pairs": "aggregate {url} --of pairs",
    "supernodes": "aggregate {url} --of supernodes",
    **dict.fromkeys((*CIRCUIT_TABLES, "circuit_effects"), "discover {url} --by COLUMN"),
    **dict.fromkeys(DIFF_TABLES, "diff {url} OTHER --output FOLDER"),
    "labels": "notes {url} import FILE",
    **dict.fromkeys(("groups", "views", "runs"), "view {url}"),
}
"""Tables that no sweep has by itself, and the command that makes each."""


class Results:
    """Findings of a sweep: five tables, described by `circuit-sweep schema`."""

    def __init__(self, output: str | Path | Output, at: Moment | None = None) -> None:
        """Open an output.

        Args:
            output: a sweep's output, a folder or an `s3://` URL.
            at: a published version or a date; by default all that is committed now.

        Raises:
            StoreError: there is no sweep, no such version, or its files were vacuumed.

        """
        self.output = output if isinstance(output, Output) else Output(output)
        self.output.claimed()
        self.snapshot: Snapshot = self.output.snapshot(at)
        self.past = at is not None
        self._connections: dict[tuple[tuple[str, str], ...], duckdb.DuckDBPyConnection] = {}

    @property
    def url(self) -> str:
        """Folder or `s3://` URL of the output."""
        return self.output.url

    def at(self, moment: Moment) -> Results:
        """Return the same output as it was published at a version or on a date."""
        return Results(self.output, moment)

    def versions(self) -> dict[int, datetime]:
        """Return when each version was published."""
        return self.output.versions()

    def twin(self) -> Results:
        """Return the same state for another thread: one DuckDB, with connections of its own."""
        _ = self._beside, self._database  # read once: what is made from now on is no part of this state
        other = copy(self)
        other._connections = {}
        other.__dict__.pop("_choice", None)
        return other

    def add(self, name: str, rows: pa.Table) -> None:
        """Let queries see rows of the caller's as a table, in twins made from now on as well."""
        if name not in self.tables:
            self._beside[name] = ds.dataset(rows)

    def confine(self, memory_bytes: int) -> None:
        """From now on let queries read no file outside the output, write none at all (what does not fit into
        so much memory is refused), and change no setting.

        For queries of strangers. It cannot be taken back, and holds for all twins.
        """
        folder = self.snapshot.folder
        if "://" not in folder.url:  # files elsewhere are read by pyarrow, not by DuckDB
            root = folder.path("").replace("'", "''")
            self._database.execute(f"set allowed_directories = ['{root}']")
        for setting in (
            "temp_directory = ''",
            "enable_external_access = false",
            "python_enable_replacements = false",
            f"memory_limit = '{memory_bytes}B'",
            "lock_configuration = true",
        ):
            self._database.execute(f"set global {setting}")

    def interrupt(self) -> None:
        """End the queries that run on this object's connections; they raise KeyboardInterrupt."""
        for connection in list(self._connections.values()):
            connection.interrupt()

    def dataset(self, table: str) -> ds.Dataset:
        """Return a table as a pyarrow data set.

        Raises:
            StoreError: there is no such table.

        """
        if table in self._beside:
            return self._beside[table]
        return self.snapshot.dataset(self._checked(table))

    @property
    def tables(self) -> list[str]:
        """Names of the tables that there are now: the sweep's own first."""
        return [*self.output.tables, *self._beside]

    def lazy_frame(self, table: str) -> polars.LazyFrame:
        """Return a table as a Polars lazy frame, which reads only what is asked of it.

        Raises:
            QueryError: Polars is not installed.

        """
        try:
            import polars
        except ImportError as error:
            raise QueryError(
                "lazy frames need Polars, which is not installed: pip install 'circuit-sweep[polars]'."
            ) from error
        folder, paths = self.snapshot.folder, self.snapshot.files[self._checked(table)]
        if not paths:
            return polars.from_arrow(self.snapshot.schemas[table].empty_table()).lazy()
        folder.refuse_links_outside(paths)
        urls = [f"{folder.url}/{path}" for path in paths]
        return polars.scan_parquet(urls, glob=False, storage_options=folder.delta_options() or None)

    def relation(self, table: str) -> duckdb.DuckDBPyRelation:
        """Return a table as a DuckDB relation."""
        return self.connection().table(self._checked(table))

    def sql(self, query: str, values: Mapping[str, object] | None = None) -> duckdb.DuckDBPyRelation | None:
        """Return the answer to a query as a DuckDB relation; None where there is none, as after `set`.

        `values` fill its named parameters (`$name`).

        Tables are views named `graphs`, `nodes`, `edges`, `activations` and `failures`; of what is committed
        now also those of the validation, and those of `aggregate` as it was asked for last. After a
        compaction they read the projection that suits the query (`choice`).

        Raises:
            QueryError: DuckDB refuses the query, or a command that makes its tables was not run yet.

        """
        with explained():
            try:
                return self.connection(self._choice.choose(query, self.snapshot.projections)).sql(
                    query, params=values
                )
            except duckdb.CatalogException as error:
                if (reason := self._why_missing(str(error))) is None:
                    raise
                raise QueryError(reason) from error

    def _why_missing(self, problem: str) -> str | None:
        """Say which command makes the table that DuckDB misses; None where none does."""
        missing = re.search(r"Table with name (\w+) does not exist", problem)
        if missing is None or (command := MADE_BY.get(missing[1].lower())) is None:
            return None
        if self.past and not command.startswith("diff"):
            return f"{missing[1]} has no past states: ask for it without --at."
        call = f"circuit-sweep {command.format(url=self.url)}"
        if command.startswith("validate"):
            return f"not validated yet: {missing[1]} is made by `{call}`."
        if command.startswith("diff"):
            return f"{missing[1]} is no table of one sweep: `{call}` writes it there."
        return f"the table {missing[1]} is not there yet: it is made by `{call}`."

    def interruptible(self, work: Callable[[], T]) -> T:
        """Do work that asks for answers so that Ctrl-C ends it.

        DuckDB looks for signals between its tasks only, and one task can be a whole query: so the work runs
        in a thread, and the main one, which gets the signal, tells the connections to stop.
        """
        with ThreadPoolExecutor(1, "query") as pool:
            future = pool.submit(work)
            try:
                return future.result()
            except KeyboardInterrupt:
                while not future.done():  # again: a query that is being planned forgets that it was told
                    with suppress(KeyboardInterrupt):
                        self.interrupt()
                        wait([future], 0.1)
                raise

    def connection(self, instead: Mapping[str, str] | None = None) -> duckdb.DuckDBPyConnection:
        """Return a DuckDB connection with a view a table; `instead` names projections to read from.

        All of them are of one in-memory database, so that a table made through one is seen by all.
        """
        key = tuple(sorted((instead or {}).items()))
        if key not in self._connections:
            connection = self._database.cursor()
            self.snapshot.bind(connection, instead)
            for name, rows in self._beside.items():
                connection.register(name, rows)
            self._connections[key] = connection
        return self._connections[key]

    def _checked(self, table: str) -> str:
        if table not in self.output.tables:
            raise StoreError(f"no such table: {table}; there are {', '.join(self.tables)}")
        return table

    @cached_property
    def labels(self) -> dict[str, FeatureLabel]:
        """The label of each feature (`2/350`) or node (`2/350@8`) that has one; today's, of any state."""
        return labels_beside(self.output.folder)

    @cached_property
    def _database(self) -> duckdb.DuckDBPyConnection:
        database = open_database()
        database.execute("set global parquet_metadata_cache = true")
        return database

    @cached_property
    def _choice(self) -> ProjectionChoice:
        return ProjectionChoice(self.snapshot.schemas | {n: rows.schema for n, rows in self._beside.items()})

    @cached_property
    def _beside(self) -> dict[str, ds.Dataset]:
        """Tables that were made of the sweep later; they have no part in the sweep's versions."""
        if self.past:
            return {}
        folder = self.output.folder
        return self._inner | current_aggregates(folder) | note_tables(folder) | self._training

    @property
    def _training(self) -> dict[str, ds.Dataset]:
        """The report on the sweep's dictionary, where that was trained here: it lies beside its files."""
        transcoders = self.output.claimed().run.get("transcoders")
        if transcoders is None:  # another kind of work
            return {}
        path = Path(resolve(transcoders["name"], "transcoders"), f"{TRAINING.name}.parquet")
        try:
            return {TRAINING.name: ds.dataset(path)} if path.is_file() else {}
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{path} cannot be read ({error}): delete it to do without.") from error

    @property
    def _inner(self) -> dict[str, ds.Dataset]:
        """The tables of the outputs inside this one; where a name is taken, the folder's stands before it."""
        found: dict[str, ds.Dataset] = {}
        for folder, output in self.output.inner().items():
            snapshot, taken = output.snapshot(), {*self.output.tables, *found}
            found |= {f"{folder}_{t}" if t in taken else t: snapshot.dataset(t) for t in output.tables}
        return found


@contextmanager
def explained() -> Iterator[None]:
    """Turn what DuckDB says about a query into an error for its author, and its Ctrl-C into Python's."""
    try:
        yield
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    except RuntimeError as error:
        if "interrupted" in str(error):
            raise KeyboardInterrupt from error
        raise
