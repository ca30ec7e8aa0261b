"""The column of a dataset that holds the prompts, checked for a type that can be traced."""

from __future__ import annotations

import difflib

import pyarrow as pa

from pipeline.errors import ConfigurationError
from pipeline.sweep.config import PromptsConfig


def content_column(config: PromptsConfig, types: pa.Schema) -> str:
    """Return the column that holds what is traced.

    Raises:
        ConfigurationError: there is none, or its type is not what the configuration says.

    """
    named = config.token_ids or config.text
    if named is None:
        alone = len(types.names) == 1 and not _has_semicolons(types, config.source)
        named = types.names[0] if alone else "prompt"
    field = require_column(named, types, config.source, "prompts.text" if config.token_ids is None else None)
    kind = field.type
    if config.chat and _is_list(kind) and pa.types.is_struct(kind.value_type):
        return named
    if config.token_ids is None and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ConfigurationError(
            f"column {named!r} of {config.source!r} holds {kind}, not text: name a text column in "
            "prompts.text, or set prompts.token_ids if it holds token ids, prompts.chat if it holds messages."
        )
    if config.token_ids is not None and not (_is_list(kind) and pa.types.is_integer(kind.value_type)):
        raise ConfigurationError(
            f"column {named!r} of {config.source!r} holds {kind}; prompts.token_ids needs lists of integers."
        )
    return named


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _column_advice(name: str, types: pa.Schema, source: str, setting: str | None) -> str:
    if _has_semicolons(types, source):
        return (
            " Its values seem to be separated by semicolons, as some spreadsheets save CSV: save it with "
            "commas, or with tabs as .tsv."
        )
    if close := difflib.get_close_matches(name, types.names, n=1):
        return f" Did you mean {close[0]!r}?" + (f" Then name it in {setting}." if setting else "")
    return f" Name the right one in {setting}." if setting else ""


def _has_semicolons(types: pa.Schema, source: str) -> bool:
    """Tell if the first line of a CSV file was read as few columns with semicolons in their names."""
    return ".csv" in source.lower() and any(";" in name for name in types.names)


def require_column(name: str, types: pa.Schema, source: str, setting: str | None = None) -> pa.Field:
    """Return a column's name and type.

    Raises:
        ConfigurationError: there is no such column.

    """
    if name not in types.names:
        raise ConfigurationError(
            f"prompts {source!r} has no column {name!r}; it has {', '.join(types.names)}."
            + _column_advice(name, types, source, setting)
        )
    return types.field(name)
