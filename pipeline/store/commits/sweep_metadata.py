"""One folder, one sweep: `_sweep.json` says whose it is, and which tables lie there.

A folder mixed from two configurations would answer questions about neither, so a second sweep is refused
unless its run key is the same: then its results are the same too, and it goes on where the first stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import DamageError, StoreError
from pipeline.store.commits.formats import refuse_other_formats
from pipeline.store.commits.table_description import Tables, column_types, described
from pipeline.store.files import DataFolder
from pipeline.store.layout import SWEEP
from pipeline.store.rows import columns_from_json, columns_to_json
from schemas import FORMAT, Table


class SweepMetadata(BaseModel):
    """Sweep that a folder belongs to."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    """Version of the tables' columns, see `schemas.FORMAT`."""

    run_key: int
    """64 bits of a hash over all that changes a result."""

    run: dict[str, Any]
    """The resolved configuration."""

    columns: dict[str, Any]
    """The extra columns in Delta's JSON notation."""

    tables: Tables
    """The output's tables, the one with a row for each prompt that is done first."""

    created: datetime
    """Time of the claim, UTC."""


def claim_folder(
    folder: DataFolder, run: Mapping[str, Any], run_key: int, columns: pa.Schema, tables: Iterable[Table]
) -> None:
    """Make the folder this run's, or find that it is.

    Raises:
        StoreError: it is another's, or the tables cannot be described.

    """
    try:
        ours = SweepMetadata(
            run_key=run_key,
            run=dict(run),
            columns=columns_to_json(columns),
            tables=described(tables),
            created=datetime.now(UTC),
        )
    except ValidationError as error:
        raise StoreError(
            f"{folder.url} cannot be an output with these tables: {error.errors()[0]['msg']}."
        ) from error
    data = ours.model_dump_json(indent=2).encode()
    if folder.create(SWEEP, data):
        _refuse_overwriting_stores(folder, data)
        return
    stored = read_sweep_metadata(folder)
    # Through JSON, so that a tuple equals the list that it was stored as.
    ours = SweepMetadata.model_validate_json(data)
    # Meanings may be worded anew; other columns would not fit into the files that are there.
    same_columns = column_types(stored.tables) == column_types(ours.tables)
    if (stored.run_key, stored.columns) != (ours.run_key, ours.columns) or not same_columns:
        raise StoreError(_difference(folder, stored, ours))


def read_sweep_metadata(folder: DataFolder) -> SweepMetadata:
    """Read what the folder belongs to.

    Raises:
        StoreError: its tables have the columns of another version.
        DamageError: the file cannot be read.

    """
    data = folder.read(SWEEP)
    # Format 1 was written before claims named their format.
    refuse_other_formats(folder, SWEEP, data, FORMAT, unnamed=1)
    try:
        return SweepMetadata.model_validate_json(data)
    except ValidationError as error:
        raise DamageError(
            f"{folder.url}/{SWEEP} is damaged: {error.errors()[0]['msg']}. Without it nobody knows "
            "which sweep the folder belongs to: restore it or choose another output."
        ) from error


def _refuse_overwriting_stores(folder: DataFolder, data: bytes) -> None:
    """A store that ignores the condition would let two attempts of one shard both win."""
    if folder.create(SWEEP, data):
        raise StoreError(
            f"{folder.url} lies on a store that ignores `If-None-Match: *`, so commits there would not be "
            "exactly-once. Use a store or a release that honours conditional writes."
        )


def _difference(folder: DataFolder, stored: SweepMetadata, ours: SweepMetadata) -> str:
    old, new = _settings(stored), _settings(ours)
    absent = "(absent)"
    lines = [
        f"  {key}: {_show(old.get(key, absent))} -> {_show(new.get(key, absent))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key, absent) != new.get(key, absent)
    ]
    return "\n".join(
        [
            f"{folder.url} holds a sweep of another configuration (there -> here):",
            *lines,
            "Choose another output, or put these back to go on with the sweep that is there.",
        ]
    )


def _settings(claim: SweepMetadata) -> dict[str, Any]:
    columns = {field.name: str(field.type) for field in columns_from_json(claim.columns)}
    return dict(_flatten({**claim.run, "columns": columns, "tables": column_types(claim.tables)}, ""))


def _flatten(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flatten(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
