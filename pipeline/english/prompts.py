"""The English model's prompts: beginnings of held-out definitions, labelled by their semantic class."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

PER_CLASS = 15
"""Prompts of each class."""

FEWEST = 60
"""Held-out definitions that a class must have, so that there is something to choose from."""

WORDS = range(5, 26)
"""Lengths, in words, of the definitions that are used."""

LONGEST = 10
"""Most words of a prompt."""

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), metadata={"meaning": "class and number"}),
        pa.field("prompt", pa.string(), metadata={"meaning": "beginning of a definition"}),
        pa.field("class", pa.string(), metadata={"meaning": "WordNet's semantic class of the definition"}),
        pa.field("answer", pa.string(), metadata={"meaning": "next word of the definition"}),
        pa.field("definition", pa.string(), metadata={"meaning": "the whole definition"}),
    ]
)


def english_prompts(glosses: pa.Table, seed: int) -> pa.Table:
    """Choose the prompts: of each class with enough held-out definitions the same number, at random."""
    by_class: dict[str, list[str]] = {}
    for row in glosses.to_pylist():
        if row["held_out"] and len(row["text"].split()) in WORDS:
            by_class.setdefault(row["class"], []).append(row["text"])
    random = Random(f"english prompts {seed}")
    rows = []
    for name, texts in sorted(by_class.items()):
        if len(texts) >= FEWEST:
            rows += [_row(name, n, text) for n, text in enumerate(random.sample(texts, PER_CLASS), start=1)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write_prompts(prompts: pa.Table, path: Path) -> None:
    """Write the Parquet file."""
    pq.write_table(prompts, path, compression="zstd")


def _row(semantic_class: str, number: int, text: str) -> dict[str, str]:
    words = text.split()
    # The last word is never part of a prompt: there must be one to predict.
    cut = min(len(words) - 1, LONGEST)
    return {
        "id": f"{semantic_class}-{number:02d}",
        "prompt": " ".join(words[:cut]),
        "class": semantic_class,
        "answer": words[cut],
        "definition": text,
    }
