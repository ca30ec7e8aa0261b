"""The column of a dataset that holds the prompts, checked for a type that can be traced."""

from __future__ import annotations

import difflib
import json
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigurationError
from pipeline.sweep.prompts_config import PromptsConfig


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
    if config.chat and holds_messages(kind):
        return named
    if config.token_ids is None and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ConfigurationError(
            f"column {named!r} of {config.source!r} holds {_in_words(kind)}, not text: name a text column in "
            "prompts.text, or set prompts.token_ids if it holds token ids, prompts.chat if it holds messages."
        )
    if config.token_ids is not None and not (_is_list(kind) and pa.types.is_integer(kind.value_type)):
        raise ConfigurationError(
            f"column {named!r} of {config.source!r} holds {kind}; prompts.token_ids needs lists of integers."
        )
    return named


def holds_messages(kind: pa.DataType) -> bool:
    """Tell if a column may hold conversations: lists of mappings, or JSON of whatever shape."""
    item = kind.value_type if _is_list(kind) else None
    return _is_json(kind) or (item is not None and (pa.types.is_struct(item) or _is_json(item)))


def without_fills(value: Any, kind: pa.DataType) -> Any:
    """Return a value without the nulls that only its column's type put there.

    A struct has the keys of all rows in every row; in JSON a null is the user's own.
    """
    if value is None:
        return None
    if pa.types.is_struct(kind):
        types = {field.name: field.type for field in kind}
        return {key: without_fills(part, types[key]) for key, part in value.items() if part is not None}
    if _is_list(kind):
        return [without_fills(part, kind.value_type) for part in value]
    return value


def messages_of(content: Any) -> Any:
    """Return the messages of a text that is a conversation as JSON; whatever else it is, unchanged."""
    if not isinstance(content, str) or not content.lstrip().startswith("["):
        return content
    try:
        read = json.loads(content)
    except ValueError:
        return content
    is_talk = bool(read) and all(
        isinstance(item, dict) and ("role" in item or "from" in item) for item in read
    )
    return read if is_talk else content


def _is_json(kind: pa.DataType) -> bool:
    return getattr(kind, "extension_name", None) == "arrow.json"


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _in_words(kind: pa.DataType) -> str:
    return "values of several types" if _is_json(kind) else str(kind)


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
