"""Text to tokens, once, into memory-mapped files with a hash.

A folder holds two sets, `train` and `held_out`. A document belongs to one of them by a hash of its own
content, so it stays there whatever text is added around it, and however often it is repeated. Documents are
cut into sequences of at most `context` tokens, each opened as prompts are, and no two share a sequence: a
graph's prompt stands alone too. Beside the tokens stands, for each sequence, where it begins and how many of
its tokens are trained on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int

from pipeline.errors import ConfigurationError, StoreError

Part = Literal["train", "held_out"]
PARTS: tuple[Part, ...] = ("train", "held_out")

CALIBRATION = (4, (0,))
"""One held-out document in four sets thresholds,"""

REPORT = (4, (1, 2, 3))
"""and the report is on the others: documents by their number modulo four."""

DESCRIPTION = "tokens.json"
"""Written last: a folder with this file is complete."""


@dataclass(frozen=True)
class PartDescription:
    """Counts of one set, and the hash of its files."""

    documents: int
    sequences: int
    tokens: int
    rows: int
    """Tokens that are trained or measured on."""

    hash: str
    """Of the set's files."""


@dataclass(frozen=True)
class TokensDescription:
    """What a folder of tokens holds."""

    identity: dict
    """Everything that decides the tokens: text, tokenizer, cut."""

    left_out: dict[str, int]
    """Documents left out, by reason."""

    train: PartDescription
    held_out: PartDescription

    classes: list[str]
    """Classes of documents, by number; none where the text has no label."""

    @property
    def hash(self) -> str:
        """Hash of both sets."""
        return blake2b((self.train.hash + self.held_out.hash).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class TokenSet:
    """One set of sequences, memory-mapped."""

    tokens: Int[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " sequences_and_one"]
    """Where each sequence begins, and the end."""

    rows: Int[np.ndarray, " sequences"]
    """Tokens of each sequence that are trained or measured on."""

    documents: Int[np.ndarray, " sequences"]
    """Number of the document that each sequence is of."""

    classes: Int[np.ndarray, " sequences"]
    """Number of that document's class, where the text has a label; else -1."""

    def __len__(self) -> int:
        return len(self.rows)

    def sequences(self, indices: Sequence[int] | Int[np.ndarray, " n"]) -> list[np.ndarray]:
        """Return some sequences' token ids."""
        return [self.tokens[self.starts[i] : self.starts[i + 1]] for i in indices]

    def of_documents(self, parts: int, wanted: Sequence[int], rows: int) -> list[np.ndarray]:
        """Return sequences of the documents whose number modulo `parts` is wanted, up to a number of rows."""
        chosen = np.flatnonzero(np.isin(self.documents % parts, wanted))
        enough = int(np.searchsorted(np.cumsum(self.rows[chosen]), rows)) + 1
        return self.sequences(chosen[:enough])


@dataclass(frozen=True)
class TrainingTokens:
    """A folder of tokens."""

    folder: Path
    description: TokensDescription

    @classmethod
    def open(cls, folder: Path) -> TrainingTokens:
        """Open a folder.

        Raises:
            StoreError: it is not there, or not complete.

        """
        try:
            found = json.loads((folder / DESCRIPTION).read_text())
        except (OSError, ValueError) as error:
            raise StoreError(f"{folder} holds no tokens ({error}): prepare them again.") from error
        parts = {part: PartDescription(**found.pop(part)) for part in PARTS}
        return cls(folder, TokensDescription(**found, **parts))

    @cached_property
    def train(self) -> TokenSet:
        """Sequences that are trained on."""
        return _open_set(self.folder, "train")

    @cached_property
    def held_out(self) -> TokenSet:
        """Sequences that are measured on."""
        return _open_set(self.folder, "held_out")

    def verify(self) -> None:
        """Refuse files that are not what was written.

        Raises:
            StoreError: naming the set.

        """
        for part in PARTS:
            if _hash(self.folder, part) != getattr(self.description, part).hash:
                raise StoreError(f"tokens in {self.folder} ({part}) are damaged: delete the folder.")


def is_held_out(document: bytes, share: float) -> bool:
    """Tell if a document is held out, by its content alone."""
    digest = blake2b(document, digest_size=8, person=b"held out").digest()
    return int.from_bytes(digest, "little") < share * 2**64


class TokenWriter:
    """Writes a folder of tokens, a document after the other."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._files = {
            (part, name): (folder / f"{part}.{name}").open("wb") for part in PARTS for name in _FILES
        }
        self._counts = {
            part: dict.fromkeys(("documents", "sequences", "tokens", "rows"), 0) for part in PARTS
        }
        self._classes: dict[str, int] = {}
        self.left_out: dict[str, int] = {}

    def add(
        self, part: Part, sequences: Sequence[tuple[Sequence[int], int]], label: str | None = None
    ) -> None:
        """Add a document's sequences, each with the number of its rows."""
        counts = self._counts[part]
        number = -1 if label is None else self._classes.setdefault(label, len(self._classes))
        for tokens, rows in sequences:
            self._write(part, "starts", counts["tokens"])
            self._write(part, "rows", rows)
            self._write(part, "documents", counts["documents"])
            self._write(part, "classes", number)
            self._files[part, "tokens"].write(np.asarray(tokens, _FILES["tokens"]).tobytes())
            counts["tokens"] += len(tokens)
            counts["sequences"] += 1
            counts["rows"] += rows
        counts["documents"] += 1

    @property
    def rows(self) -> int:
        """Rows to train on so far."""
        return self._counts["train"]["rows"]

    def leave_out(self, reason: str) -> None:
        """Count a document that cannot be used."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def finish(self, identity: dict) -> TrainingTokens:
        """Close the files and describe them.

        Raises:
            ConfigurationError: a set is empty.

        """
        for part in PARTS:
            self._write(part, "starts", self._counts[part]["tokens"])
        for file in self._files.values():
            file.close()
        for part, other in (("train", "more text, or a smaller"), ("held_out", "more text, or a larger")):
            if not self._counts[part]["rows"]:
                reasons = "; ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
                raise ConfigurationError(
                    f"no token of the text is in the set {part!r} ({reasons or 'none was left out'}): give "
                    f"{other} text.held_out."
                )
        parts = {
            part: PartDescription(**self._counts[part], hash=_hash(self._folder, part)) for part in PARTS
        }
        description = TokensDescription(identity, self.left_out, **parts, classes=list(self._classes))
        (self._folder / DESCRIPTION).write_text(json.dumps(asdict(description), indent=1))
        return TrainingTokens(self._folder, description)

    def _write(self, part: Part, name: str, value: int) -> None:
        self._files[part, name].write(np.array(value, _FILES[name]).tobytes())


_FILES = {
    "tokens": np.dtype("<u4"),
    "starts": np.dtype("<i8"),
    "rows": np.dtype("<i4"),
    "documents": np.dtype("<i4"),
    "classes": np.dtype("<i4"),
}


def _open_set(folder: Path, part: Part) -> TokenSet:
    return TokenSet(
        **{name: np.memmap(folder / f"{part}.{name}", kind, "r") for name, kind in _FILES.items()}
    )


def _hash(folder: Path, part: Part) -> str:
    whole = blake2b(digest_size=16)
    for name in _FILES:
        with (folder / f"{part}.{name}").open("rb") as file:
            whole.update(file_digest(file, "sha256").digest())
    return whole.hexdigest()
