"""Options with which CSV is read, so that words in its cells stay words.

pandas takes digits for numbers and `NA` or `None` for nothing in every column; a prompt, an id or an answer
may be any of these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.sweep.config import TargetsConfig
from pipeline.sweep.prompts_config import PromptsConfig

NOTHING = [
    "",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "#NA",
    "<NA>",
    "NaN",
    "nan",
    "-NaN",
    "-nan",
    "NULL",
    "null",
    "None",
]
"""Cells of a CSV that say that there is no number."""


def csv_options(source: str, config: PromptsConfig, targets: TargetsConfig) -> dict[str, Any]:
    """Return how a CSV is read, in which digits and leading zeros of these columns are text."""
    text = [config.text or "prompt", config.id or "id", *([targets.column] if targets.column else [])]
    delimiter = "\t" if ".tsv" in Path(source).suffixes else ","
    return {"delimiter": delimiter, "converters": dict.fromkeys(text, str)}


def words_kept(options: dict[str, Any], types: pa.Schema) -> dict[str, Any]:
    """Return the options of a CSV of these columns in which `NA` and `None` are words in columns of text.

    In others they mean that there is no number; an empty cell of an extra column means nothing anywhere.
    """
    text = options["converters"]
    words = [field.name for field in types if pa.types.is_string(field.type) and field.name not in text]
    nothing = {name: [""] if name in words else NOTHING for name in types.names if name not in text}
    return {
        **options,
        "converters": {**text, **dict.fromkeys(words, str)},
        "keep_default_na": False,
        "na_values": nothing,
    }
