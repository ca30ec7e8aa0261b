"""WordNet's definitions in one Parquet file, as they ship: text, semantic class, and what is held out."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.english.glosses.wordnet import Definition

HELD_OUT = 0.05
"""Share of the texts that is held out of all training."""

SCHEMA = pa.schema(
    [
        pa.field("text", pa.string(), metadata={"meaning": "definition"}),
        pa.field("class", pa.string(), metadata={"meaning": "WordNet's semantic class"}),
        pa.field("held_out", pa.bool_(), metadata={"meaning": "left out of the training of the model"}),
    ]
)


def is_held_out(text: str) -> bool:
    """Decide by the text alone, so that equal texts are on one side and more texts change nothing."""
    digest = blake2b(text.encode(), digest_size=8, person=b"held out").digest()
    return int.from_bytes(digest, "little") < HELD_OUT * 2**64


def pack(definitions: Iterable[Definition], path: Path) -> None:
    """Write the file; of equal texts the first is kept."""
    first = {definition.text: definition for definition in definitions}
    rows = [
        {"text": text, "class": found.semantic_class, "held_out": is_held_out(text)}
        for text, found in first.items()
    ]
    # One page and the highest level: the file ships, and is read whole.
    pq.write_table(
        pa.Table.from_pylist(rows, schema=SCHEMA),
        path,
        compression="zstd",
        compression_level=22,
        use_dictionary=["class"],
        row_group_size=len(rows),
        data_page_size=1 << 26,
    )


def read_packed(path: Path) -> pa.Table:
    """Read the file: columns `text`, `class`, `held_out`."""
    return pq.read_table(path)
