"""A third kind of work: the words of each text, counted into a table of its own."""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from pipeline.runtime import Item, Rows, StageError, WorkerResources
from pipeline.store import Output
from schemas import TABLES, Table, column

WORDS = Table(
    name="words",
    row="a text",
    key=("prompt_key",),
    schema=pa.schema(
        [
            column("prompt_key", pa.int64(), "Identity of the text", "key"),
            column("words", pa.int32(), "Words of the text", "count"),
            column("different", pa.int32(), "Different words of the text", "count"),
        ]
    ),
)


@dataclass
class CountWords:
    """Counts the words of texts. One text kills its worker, the first time or always."""

    folder: str
    tables: ClassVar[tuple[Table, ...]] = (WORDS, TABLES["failures"])
    memory_bytes: ClassVar[int | None] = 1 << 28

    def load(self, resources: WorkerResources, output: Output) -> None:
        logging.getLogger("words").warning("these words are old")

    def do(self, item: Item) -> Rows:
        if not item.text:
            raise StageError("read", ValueError("no words"))
        struck = Path(self.folder, "struck")
        if "kills" in item.text or ("strikes" in item.text and not struck.exists()):
            struck.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        words = item.text.split()
        row = {"prompt_key": item.key, "words": len(words), "different": len(set(words))}
        return Rows({"words": pa.Table.from_pylist([row], WORDS.schema)})
