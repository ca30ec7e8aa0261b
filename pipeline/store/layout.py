"""Every name in an output: its files, its folders, and the patterns that read such names back.

OUTPUT/_sweep.json                        whose folder this is, and the resolved configuration
OUTPUT/_driver.json                       who is writing now, and where that run stands
OUTPUT/_upkeep.json                       who is compacting or repairing now
OUTPUT/_commits/<shard>.json              a marker for each finished shard: what counts as written
OUTPUT/_compactions/<id>.json             what a compaction wrote
OUTPUT/_projections/<name>/compacted-<id>-<number>.parquet
OUTPUT/<table>/_data/<shard>-<attempt>.parq
OUTPUT/<table>/_data/compacted-<id>-<number>.parq
OUTPUT/<table>/_delta_log/                published versions of the table, by the files in `_data`
OUTPUT/<table>/<the same name>.parquet    second names of what the last version holds (see `plain_files`)
OUTPUT/_runs/<time>.json                  a report of each start
OUTPUT/_aggregates/<name>-<hash>.json     what an aggregate was made of, and its files
OUTPUT/_aggregates/<name>-<hash>/<table>/<number>-<try>.parquet
OUTPUT/_notes/<time>-<hash>.json          a label, group, view or run that somebody wrote
OUTPUT/<inner>/_sweep.json                an output of its own that was made of this one: `validation`

Names are relative to the output. A shard is 32 hexadecimal digits; a compaction's id begins with its time.

Files of all versions lie in `_data`, which pandas, pyarrow and Spark skip because of the underscore, and end
in `.parq`, which a glob for `*.parquet` (DuckDB, Polars) does not find.
"""

from __future__ import annotations

import re
from datetime import datetime
from uuid import uuid4

SWEEP = "_sweep.json"
DRIVER = "_driver.json"
UPKEEP = "_upkeep.json"
COMMITS = "_commits"
COMPACTIONS = "_compactions"
RUNS = "_runs"
AGGREGATES = "_aggregates"
NOTES = "_notes"

INNER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
"""Folders that may be an output inside an output; their names stand before those of tables, in SQL."""

DATA_FILE = re.compile(
    r"(?P<table>\w+)/(_data/[\w-][\w.-]*\.parq|[\w-][\w.-]*\.parquet)"  # the latter as deltalake compacts
    r"|_projections/(?P<projection>\w+)/[\w-][\w.-]*\.parquet"
    r"|_aggregates/(?P<result>[\w-][\w.-]*)/(?P<aggregate>\w+)/[\w-][\w.-]*\.parquet",
    re.ASCII,
)
"""Files of rows that bookkeeping may name: none of these names holds a pattern or leads out of the output."""

SHARD_FILE = re.compile(r"\w+/_data/(?P<shard>[0-9a-f]{32})-[\w-]+\.parq")
UNFINISHED_MARKER = re.compile(rf"{COMMITS}/\.(?P<shard>[0-9a-f]{{32}})\.json\.[0-9a-f]{{32}}")
MARKER = re.compile(rf"{COMMITS}/(?P<shard>[0-9a-f]{{32}})\.json")
COMPACTION = re.compile(
    r"(\w+/_data/|_projections/\w+/|_compactions/)"
    r"(compacted-)?(?P<id>\d{8}T\d{12}-[0-9a-f]{8})(-\d{5}\.parq(uet)?|\.json)"
)
PLAIN_FILE = re.compile(r"\w+/([0-9a-f]{32}-[\w-]+|compacted-[\w-]+)\.parquet")
LOG_FILE = re.compile(r"\w+/_delta_log/(?P<version>\d{20})\.json")


def checked_data_path(path: str) -> str:
    """Return the path of a file of rows as bookkeeping names it.

    Raises:
        ValueError: no file of rows in an output has such a path.

    """
    if not DATA_FILE.fullmatch(path):
        raise ValueError(
            f"{path[:200]!r} is not the path of a file of rows, such as `graphs/_data/NAME.parq`, and no "
            "other file is read as rows"
        )
    return path


def owner_of(path: str) -> str:
    """The table, the projection or the aggregate's table whose rows a data file holds."""
    match = DATA_FILE.fullmatch(path)
    return next(filter(None, match.group("table", "projection", "aggregate"))) if match else ""


def result_of(path: str) -> str | None:
    """The aggregate's result that a data file belongs to; None for other files."""
    match = DATA_FILE.fullmatch(path)
    return match["result"] if match else None


def marker_name(shard: str) -> str:
    """Return the file that marks a shard as done."""
    return f"{COMMITS}/{shard}.json"


def marked_shard(name: str) -> str | None:
    """Return the shard that a marker of this name marks; None if no marker has such a name."""
    match = MARKER.fullmatch(name)
    return match["shard"] if match else None


def unfinished_name(name: str) -> str:
    """Return a name beside a file, for its bytes until they are whole."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}.{last}.{uuid4().hex}"


def unfinished_marker(name: str) -> str | None:
    """Return the shard whose marker was being created under this name on a local disk."""
    match = UNFINISHED_MARKER.fullmatch(name)
    return match["shard"] if match else None


def new_attempt(attempt: str) -> str:
    """Return a name of its own for an attempt: two drivers count their attempts alike."""
    return f"{attempt}-{uuid4().hex[:8]}"


def data_folder(table: str) -> str:
    """Return the folder of a table's files, those of earlier versions included."""
    return f"{table}/_data"


def shard_file(table: str, shard: str, attempt: str) -> str:
    """Return the file of a shard's rows of one table."""
    return f"{data_folder(table)}/{shard}-{attempt}.parq"


def shard_of(path: str) -> str | None:
    """Return the shard whose rows a file holds; None for compactions' files and files that are not ours."""
    match = SHARD_FILE.fullmatch(path)
    return match["shard"] if match else None


def new_compaction(now: datetime) -> str:
    """Return an id for a new compaction; ids ascend with time."""
    return f"{now:%Y%m%dT%H%M%S%f}-{uuid4().hex[:8]}"


def compacted_file(table: str, compaction: str, number: int) -> str:
    """Return a compaction's file of a table."""
    return f"{data_folder(table)}/compacted-{compaction}-{number:05}.parq"


def projection_folder(projection: str) -> str:
    """Return the folder of a projection's files."""
    return f"_projections/{projection}"


def projection_file(projection: str, compaction: str, number: int) -> str:
    """Return a compaction's file of a projection."""
    return f"{projection_folder(projection)}/compacted-{compaction}-{number:05}.parquet"


def plain_name(path: str) -> str:
    """Return the second name of a table's file, for readers that know no log."""
    return f"{folder_of(path)}/{path.rpartition('/')[2].removesuffix('.parq')}.parquet"


def is_plain_name(name: str) -> bool:
    """True if `plain_name` gives this name."""
    return PLAIN_FILE.fullmatch(name) is not None


def manifest_name(compaction: str) -> str:
    """Return the file that describes a compaction."""
    return f"{COMPACTIONS}/{compaction}.json"


def compaction_of(path: str) -> str | None:
    """Return the compaction that wrote a file, be it its manifest; None for all other files."""
    match = COMPACTION.fullmatch(path)
    return match["id"] if match else None


def folder_of(path: str) -> str:
    """Return the table, the projection or the kind of bookkeeping that a file belongs to."""
    first, _, rest = path.partition("/")
    return folder_of(rest) if first == "_projections" else first


def path_in_table(path: str) -> str:
    """Return a data file's path relative to its table, as the log has it."""
    return path.partition("/")[2]


def log_folder(table: str) -> str:
    """Return the folder of a table's published versions."""
    return f"{table}/_delta_log"


def log_file(table: str, version: int) -> str:
    """Return the file of one published version of a table."""
    return f"{log_folder(table)}/{version:020}.json"


def version_of(name: str) -> int | None:
    """Return the version that a file of a log describes; None for its other files, such as checkpoints."""
    match = LOG_FILE.fullmatch(name)
    return int(match["version"]) if match else None


def report_name(started: datetime) -> str:
    """Return the file with the report of a start."""
    return f"{RUNS}/{started:%Y%m%dT%H%M%S.%fZ}.json"


def note_name(created: datetime, hash: str) -> str:
    """Return the file of a note; names ascend with time."""
    return f"{NOTES}/{created:%Y%m%dT%H%M%S%f}-{hash}.json"


def note_id(name: str) -> str:
    """Return the id of the note that a file holds."""
    return name.removeprefix(f"{NOTES}/").removesuffix(".json")


def aggregate_name(key: str) -> str:
    """Return the file that makes an aggregate's result count."""
    return f"{AGGREGATES}/{key}.json"


def aggregate_key(name: str) -> str:
    """Return the key of the result that this file makes count."""
    return name.removeprefix(f"{AGGREGATES}/").removesuffix(".json")


def aggregate_folder(key: str, table: str) -> str:
    """Return the folder of one table of an aggregate's result."""
    return f"{AGGREGATES}/{key}/{table}"


def aggregate_file(key: str, table: str, number: int) -> str:
    """Return a file of an aggregate's result; a task that runs twice writes two."""
    return f"{aggregate_folder(key, table)}/{number:05}-{uuid4().hex[:8]}.parquet"
