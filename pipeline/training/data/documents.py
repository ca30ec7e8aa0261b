"""Documents of a dataset to the sequences of a folder of tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigurationError, PromptError, StoreError
from pipeline.hub import file_fingerprint, pin
from pipeline.model import (
    TracedTokens,
    check_chat_template,
    fixed_prefix,
    load_config,
    load_tokenizer,
    opening_tokens,
    render_chat,
    special_ids,
    tokenize_all,
)
from pipeline.sweep import PromptsConfig
from pipeline.sweep.prompts import Prompt, open_prompts
from pipeline.training.config import DictionaryConfig, TextConfig
from pipeline.training.data.tokens import TokenWriter, TrainingTokens, is_held_out

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DOCUMENTS = 512
"""Documents that are tokenized together."""


def prepare_tokens(
    config: DictionaryConfig,
    folder: Path,
    advance: Callable[[int], None] = lambda documents: None,
    most: int | None = None,
) -> TrainingTokens:
    """Tokenize the text of a dictionary into a folder, or open what is there of the same text.

    Args:
        config: names the text and the model whose tokenizer reads it.
        folder: on this machine.
        advance: called with the number of documents done since the last call.
        most: rows to train on after which no more is read (default: all text is).

    Raises:
        ConfigurationError: the text cannot be read, or nothing of it can be used.
        ModelError: the tokenizer cannot be loaded, or writes no conversations.
        StoreError: the folder holds tokens of something else.

    """
    cutter = Cutter.of(config)
    identity = cutter.identity(config)
    if (folder / "tokens.json").exists():
        found = TrainingTokens.open(folder)
        if found.description.identity != identity:
            raise StoreError(
                f"{folder} holds the tokens of another text, model or cut: delete it, or name another folder."
            )
        return found
    writer = TokenWriter(folder)
    read = _documents(config.text)
    while documents := list(islice(read, DOCUMENTS)):
        cuts = cutter.cut([document.content for document in documents])
        for document, cut in zip(documents, cuts, strict=True):
            if isinstance(cut, str):
                writer.leave_out(cut)
                continue
            label = None if config.text.label is None else document.columns[config.text.label]
            held_out = is_held_out(_as_bytes(document.content), config.text.held_out)
            writer.add("held_out" if held_out else "train", cut, None if label is None else str(label))
        advance(len(documents))
        if most is not None and writer.rows >= most:
            break
    return writer.finish(identity)


def _documents(text: TextConfig) -> Iterator[Prompt]:
    """Read a text as a sweep reads its prompts; what it says of those is said of the text."""
    columns = () if text.label is None else (text.label,)
    config = PromptsConfig(
        source=text.source, text=text.text or "text", chat=text.chat, split=text.split, columns=columns
    )
    try:
        yield from open_prompts(config)
    except ConfigurationError as error:
        raise ConfigurationError(f"text.source: {str(error).replace('prompts.', 'text.')}") from error


def _local_files(source: str) -> list[list[Any]]:
    """Return size and hash of the files behind a path: text that was edited is other text."""
    if "://" in source:
        return []
    files = sorted(Path(name) for name in glob(str(Path(source).expanduser()), recursive=True))
    return [[path.stat().st_size, file_fingerprint(path)] for path in files if path.is_file()]


def _as_bytes(content: Any) -> bytes:
    text = content if isinstance(content, str) else json.dumps(content, sort_keys=True, ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Cutter:
    """Documents to sequences by a model's tokenizer."""

    tokenizer: PreTrainedTokenizerBase
    vocabulary_size: int
    context: int
    opening: str | int | None
    prefix: tuple[int, ...]
    zero_positions: int
    special: frozenset[int]
    chat: bool

    @classmethod
    def of(cls, config: DictionaryConfig) -> Cutter:
        """Return the cutter of a dictionary's text.

        Raises:
            ConfigurationError: a sequence has no room for a token beside its opening.
            ModelError: the tokenizer cannot be loaded, or writes no conversations.

        """
        described = load_config(config.model, config.trust_remote_code)
        tokenizer = load_tokenizer(config.model, config.trust_remote_code)
        text = config.text
        if text.chat:
            check_chat_template(tokenizer, config.model)
        prefix = fixed_prefix(described, tokenizer)
        context = min(text.context, getattr(described, "max_position_embeddings", None) or text.context)
        if context <= max(1, len(prefix)):
            raise ConfigurationError(
                f"text.context is {context}, but the first {max(1, len(prefix))} tokens of a sequence carry "
                "no features: raise it."
            )
        opening = "none" if text.chat and text.opening is None else text.opening
        opening_tokens(tokenizer, opening, described.vocab_size)
        return cls(
            tokenizer=tokenizer,
            vocabulary_size=described.vocab_size,
            context=context,
            opening=opening,
            prefix=prefix,
            zero_positions=len(prefix) or 1,
            special=special_ids(tokenizer),
            chat=text.chat,
        )

    def identity(self, config: DictionaryConfig) -> dict[str, Any]:
        """Return everything that decides the tokens."""
        return {
            "model": pin(config.model, "model").fingerprint,
            "text": config.text.model_dump(mode="json"),
            "files": _local_files(config.text.source),
            "context": self.context,
            "vocabulary_size": self.vocabulary_size,
        }

    def cut(self, documents: Sequence[Any]) -> list[list[tuple[list[int], int]] | str]:
        """Return each document's sequences with their numbers of rows, or why it is left out."""
        texts: list[Any] = []
        for content in documents:
            try:
                texts.append(render_chat(self.tokenizer, content) if self.chat else content)
            except PromptError as error:
                texts.append(error)
        readable = [text for text in texts if isinstance(text, str)]
        tokens = iter(
            tokenize_all(
                self.tokenizer,
                readable,
                self.vocabulary_size,
                fixed_prefix=self.prefix,
                opening=self.opening,
                zero_positions=self.zero_positions,
            )
        )
        found = (next(tokens) if isinstance(text, str) else text for text in texts)
        return [_reason(each) if not isinstance(each, TracedTokens) else self._pieces(each) for each in found]

    def _pieces(self, tokens: TracedTokens) -> list[tuple[list[int], int]] | str:
        head = list(self.prefix) or (list(tokens[:1]) if tokens.begins_special else [])
        pieces = (self._rows(piece) for piece in _windows(list(tokens), self.context, head))
        kept = [(piece, rows) for piece, rows in pieces if rows]
        return kept or "hold special tokens alone"

    def _rows(self, piece: list[int]) -> tuple[list[int], int]:
        rows = sum(token not in self.special for token in piece[self.zero_positions :])
        return piece, rows


def _windows(tokens: list[int], context: int, head: list[int]) -> Iterator[list[int]]:
    """Cut tokens into windows, each but the first with the opening in front again."""
    yield tokens[:context]
    step = context - len(head)
    for start in range(context, len(tokens), step):
        yield [*head, *tokens[start : start + step]]


def _reason(error: Any) -> str:
    if not isinstance(error, PromptError):
        return "are no text"
    return "cannot be tokenized, such as: " + str(error).partition(":")[0][:80]
