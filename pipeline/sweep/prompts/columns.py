"""Which column of a dataset holds the prompts, and whether its type is one that can be traced."""

from __future__ import annotations

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
        named = types.names[0] if len(types.names) == 1 else "prompt"
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


def require_column(name: str, types: pa.Schema, source: str, setting: str | None = None) -> pa.Field:
    """Return a column's name and type.

    Raises:
        ConfigurationError: there is no such column.

    """
    if name not in types.names:
        hint = f" Name the right one in {setting}." if setting else ""
        raise ConfigurationError(
            f"prompts {source!r} has no column {name!r}; it has {', '.join(types.names)}.{hint}"
        )
    return types.field(name)
