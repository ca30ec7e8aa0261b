"""Prompts as a stream: files or a Hugging Face dataset, read through `datasets` a few rows at a time.

Local files go through the builder of their format (`load_dataset("parquet", data_files=...)`), which never
asks the network. Column types are inferred from the first rows where the format does not declare them, so
that the `graphs` table has one schema from the first shard to the last.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.builtin import resolve
from pipeline.errors import ConfigurationError
from pipeline.sweep.config import TargetsConfig
from pipeline.sweep.prompts.columns import content_column, messages_of, require_column, without_fills
from pipeline.sweep.prompts.csv_cells import csv_options, words_kept
from pipeline.sweep.prompts_config import PromptsConfig
from pipeline.untrusted import count_lines

if TYPE_CHECKING:
    from datasets import IterableDataset

BUILDERS = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".json": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "text",
}
"""File suffixes that are read, with the `datasets` builder of each."""

SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")

READ_ROWS = 64
"""Rows that are read together, by columns: row by row takes ten times as long."""

Columns = Mapping[str, Sequence[Any]]
"""Some rows, by column."""

INFERENCE_ROWS = 256
"""Rows that decide a column's type where the file does not declare it."""


@dataclass(slots=True)
class Prompt:
    """One row of the dataset. Not frozen, which takes twice as long to make: there may be millions."""

    id: str
    """The user's id, or the row number."""

    content: str | list[int] | list[dict[str, Any]] | None
    """Text, token ids or the messages of a conversation; None where the row has none."""

    columns: Mapping[str, Any]
    """Values of the extra columns."""

    targets: Any = None
    """Value of the prompt's own targets column."""


@dataclass(frozen=True)
class Prompts:
    """An opened dataset. Iterating reads it from the start."""

    dataset: IterableDataset
    source: str
    content_column: str
    id_column: str | None
    extra_columns: pa.Schema
    """Types of the extra columns."""

    total: int | None
    """Rows to read; None if they cannot be counted without reading them."""

    limit: int | None
    skip_blank: bool
    """True if blank texts are the gaps of a text file and no prompts."""

    targets_column: str | None = None
    """Column with each prompt's own targets."""

    messages: pa.DataType | None = None
    """Type of the content column where it may hold conversations."""

    def __iter__(self) -> Iterator[Prompt]:
        """Yield the prompts in the order of the dataset."""
        first = 0
        for columns in self._batches():
            yield from self._prompts(columns, first)
            first += len(columns[self.content_column])

    def _batches(self) -> Iterator[Columns]:
        dataset, read = self.dataset if self.limit is None else self.dataset.take(self.limit), 0
        try:
            for columns in dataset.iter(READ_ROWS):
                yield columns
                read += len(columns[self.content_column])
        except Exception as error:
            raise ConfigurationError(
                f"prompts {self.source!r} cannot be read after row {read}, in the {READ_ROWS} that follow "
                f"({type(error).__name__}: {error}): fix the file; what was committed stays."
            ) from error

    def _prompts(self, columns: Columns, first: int) -> Iterator[Prompt]:
        """Yield the prompts of some rows, of which the first has this number."""
        contents = columns[self.content_column]
        if self.messages is not None:
            contents = [messages_of(without_fills(content, self.messages)) for content in contents]
        ids = range(first, first + len(contents)) if self.id_column is None else columns[self.id_column]
        targets = None if self.targets_column is None else columns[self.targets_column]
        for row, content in enumerate(contents):
            if not (self.skip_blank and not content.strip()):
                extra_columns = {name: columns[name][row] for name in self.extra_columns.names}
                yield Prompt(str(ids[row]), content, extra_columns, targets and targets[row])


def open_prompts(config: PromptsConfig, targets: TargetsConfig = TargetsConfig()) -> Prompts:  # noqa: B008
    """Open the dataset that a sweep names and check its columns.

    Args:
        config: where the prompts are.
        targets: the column with each prompt's own targets, if they have some.

    Raises:
        ConfigurationError: it does not exist, cannot be read, is empty, or lacks a column.

    """
    source = resolve(config.source, "prompts")
    _refuse_spreadsheet(source, config.source)
    builder = builder_of(source)
    files = _local_files(source, config.source, builder)
    total = _count_rows(files, builder, config.source)  # before a library parses them
    options = csv_options(source, config, targets) if builder == "csv" else {}
    dataset = _load(source, builder, config, options)
    types = _column_types(dataset, config.source)
    if builder == "csv":
        dataset = _load(source, builder, config, words_kept(options, types))
        types = _column_types(dataset, config.source)
    content = content_column(config, types)
    for name in (config.id, *config.columns, targets.of_each_prompt):
        if name is not None:
            require_column(name, types, config.source)
    if builder is None:
        total = _declared_rows(dataset, config.split)
    return Prompts(
        dataset=dataset,
        source=config.source,
        content_column=content,
        id_column=config.id or ("id" if "id" in types.names else None),
        extra_columns=pa.schema([types.field(name) for name in config.columns]),
        total=min(total, config.limit) if total is not None and config.limit else total,
        limit=config.limit,
        skip_blank=builder == "text",
        targets_column=targets.of_each_prompt,
        messages=types.field(content).type if config.chat else None,
    )


def _refuse_spreadsheet(source: str, named: str) -> None:
    if Path(source).suffix.lower() in SPREADSHEETS:
        raise ConfigurationError(
            f"prompts {named!r} is a spreadsheet, which is not read: save it as CSV (UTF-8), and name that."
        )


def builder_of(source: str) -> str | None:
    """Return the builder for a file's suffix; None for what must be a dataset on the hub."""
    path = Path(source)
    if path.suffix in COMPRESSIONS:
        path = path.with_suffix("")
    return BUILDERS.get(path.suffix.lower())


def _local_files(source: str, named: str, builder: str | None) -> list[Path]:
    """Return the files behind a local path; nothing for URLs and datasets on the hub."""
    if "://" in source:
        return []
    files = sorted(Path(name) for name in glob.glob(str(Path(source).expanduser()), recursive=True))
    if builder is None and files:
        raise ConfigurationError(
            f"prompts {named!r} has none of the endings {', '.join(BUILDERS)}: "
            "name a file, or several as 'folder/*.jsonl'."
        )
    if builder is not None and not files:
        raise ConfigurationError(
            f"prompts file {named!r} does not exist (looked in {Path.cwd()}): check the path."
        )
    return files


def _load(
    source: str, builder: str | None, config: PromptsConfig, options: Mapping[str, Any]
) -> IterableDataset:
    # Imported late: `datasets` takes most of a second, which `--help` need not wait for.
    import datasets

    datasets.utils.logging.set_verbosity(datasets.utils.logging.CRITICAL)
    try:
        if builder is not None:
            path = source if "://" in source else str(Path(source).expanduser())
            return datasets.load_dataset(builder, data_files=path, split="train", streaming=True, **options)
        return datasets.load_dataset(source, split=config.split, streaming=True)
    except StopIteration as error:  # how `datasets` says that a JSON file has no rows
        raise _empty(config.source) from error
    except Exception as error:
        raise _unreadable(config.source, builder, error) from error


def _empty(source: str) -> ConfigurationError:
    return ConfigurationError(f"prompts {source!r} is empty: there is nothing to sweep.")


def _unreadable(source: str, builder: str | None, error: Exception) -> ConfigurationError:
    reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    if builder is not None:
        return ConfigurationError(f"prompts file {source!r} cannot be read as {builder} ({reason}).")
    return ConfigurationError(
        f"prompts {source!r} not found: neither a file nor a dataset on the Hugging Face Hub ({reason}). "
        f"Check the name, or the file's ending ({', '.join(BUILDERS)})."
    )


def _column_types(dataset: IterableDataset, source: str) -> pa.Schema:
    try:
        rows = list(dataset.take(INFERENCE_ROWS))
    except Exception as error:
        raise _unreadable(source, builder_of(source) or "dataset", error) from error
    if not rows:
        raise _empty(source)
    if dataset.features is not None:
        return pa.schema(list(dataset.features.arrow_schema))
    return pa.Table.from_pylist(rows).schema


def _count_rows(files: list[Path], builder: str | None, named: str) -> int | None:
    """Count the rows of local files: by footers (Parquet) or by line ends, which a progress bar may trust.

    Raises:
        ConfigurationError: a line is such that reading it could end the process.

    """
    if not files or builder is None:
        return None
    # What cannot be read is said by the library that reads it.
    with suppress(OSError, EOFError, LZMAError, pa.ArrowInvalid):
        if builder == "parquet":
            return sum(pq.read_metadata(path).num_rows for path in files)
        try:
            # A CSV's first line names the columns.
            return sum(count_lines(path, builder == "json") - (builder == "csv") for path in files)
        except ValueError as error:
            raise ConfigurationError(
                f"prompts file {named!r} is not read: {error}, as no prompt has. Leave that row out."
            ) from error
    return None


def _declared_rows(dataset: IterableDataset, split: str) -> int | None:
    declared = (dataset.info.splits or {}).get(split)
    return declared.num_examples or None if declared else None
