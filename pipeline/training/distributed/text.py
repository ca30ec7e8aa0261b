"""The text of a training as tokens, wherever its processes are: the driver prepares, the others fetch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from pipeline.store import DataFolder
from pipeline.store.files import LocalFolder
from pipeline.training.config import DictionaryConfig
from pipeline.training.data import TrainingTokens, prepare_tokens
from pipeline.training.distributed.layout import TOKENS

DESCRIPTION = "tokens.json"

FILE_BYTES = 1 << 40
"""Most bytes of a file of tokens."""


def prepare_shared_tokens(
    folder: DataFolder, config: DictionaryConfig, advance: Callable[[int], None]
) -> TrainingTokens:
    """Tokenize the text of a training into its state, or open what is there of the same text.

    Raises:
        CircuitSweepError: the text cannot be read, or differs from the one that the training is on.

    """
    if isinstance(folder, LocalFolder):
        return prepare_tokens(config, Path(folder.path(TOKENS)), advance)
    local = _fetched(folder) or Path(tempfile.mkdtemp(prefix="circuit-sweep-tokens-"))
    tokens = prepare_tokens(config, local, advance)
    if not folder.exists(f"{TOKENS}/{DESCRIPTION}"):
        files = sorted(local.iterdir(), key=lambda path: path.name == DESCRIPTION)  # what completes it, last
        for path in files:
            folder.replace(f"{TOKENS}/{path.name}", path.read_bytes())
    return tokens


def open_shared_tokens(folder: DataFolder) -> TrainingTokens:
    """Open the tokens of a training, fetched to this machine where they lie on a store.

    Raises:
        StoreError: they are not there.

    """
    if isinstance(folder, LocalFolder):
        return TrainingTokens.open(Path(folder.path(TOKENS)))
    found = _fetched(folder)
    return TrainingTokens.open(found or Path(folder.url))


def _fetched(folder: DataFolder) -> Path | None:
    if not folder.exists(f"{TOKENS}/{DESCRIPTION}"):
        return None
    local = Path(tempfile.mkdtemp(prefix="circuit-sweep-tokens-"))
    for entry in folder.list(TOKENS):
        (local / Path(entry.name).name).write_bytes(folder.read(entry.name, FILE_BYTES))
    return local
