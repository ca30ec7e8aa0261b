"""A pack's prompts as token ids, each checked: what the model's tokenizer cannot read is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.audit.pack import Pack
from pipeline.errors import ConfigurationError, PromptError, TargetError
from pipeline.model import ReplacementModel, token_id


@dataclass(frozen=True)
class FilledTemplate:
    """A template filled with both words of a pair."""

    pair: int
    """Index of the pair, which is the cluster."""

    template: int
    tokens: tuple[tuple[int, ...], tuple[int, ...]]
    """Token ids with the word of the first group, and of the second."""

    @property
    def places(self) -> dict[int, int]:
        """Position of the second prompt that each of the first stands beside.

        What both begin with stands side by side, then what follows from the end: of words of unequal length
        the last tokens are compared, and what the longer one has in front stays alone.
        """
        one, other = self.tokens
        shared = 0
        while shared < min(len(one), len(other)) and one[shared] == other[shared]:
            shared += 1
        found = {position: position for position in range(shared)}
        rest = min(len(one), len(other)) - shared
        return found | {len(one) - back: len(other) - back for back in range(1, rest + 1)}


@dataclass(frozen=True)
class ReadControl:
    """A control prompt."""

    tokens: tuple[int, ...]
    answer: int
    """Token id of its answer."""


@dataclass(frozen=True)
class ReadPack:
    """A pack as one model reads it."""

    prompts: tuple[FilledTemplate, ...]
    plus: tuple[int, ...]
    minus: tuple[int, ...]
    control: tuple[ReadControl, ...]


def read_prompts(pack: Pack, model: ReplacementModel) -> ReadPack:
    """Turn a pack into token ids.

    Raises:
        ConfigurationError: the tokenizer cannot read a word, or a word of the readout is no single token.

    """
    prompts = [
        FilledTemplate(index, number, tuple(_tokens(pack, model, t.replace("{x}", word)) for word in pair))
        for index, pair in enumerate(pack.pairs)
        for number, t in enumerate(pack.templates)
    ]
    plus, minus = (_words(pack, model, words) for words in (pack.readout.plus, pack.readout.minus))
    control = tuple(
        ReadControl(_tokens(pack, model, each.prompt), *_words(pack, model, (each.answer,)))
        for each in pack.control
    )
    return ReadPack(tuple(prompts), plus, minus, control)


def _tokens(pack: Pack, model: ReplacementModel, text: str) -> tuple[int, ...]:
    try:
        return tuple(model.ensure_tokenized(text).tolist())
    except PromptError as error:
        raise ConfigurationError(
            f"audit pack {pack.name!r} is not for {model.name}, whose tokenizer cannot read {text!r}: {error}"
        ) from error


def _words(pack: Pack, model: ReplacementModel, words: Sequence[str]) -> tuple[int, ...]:
    try:
        return tuple(token_id(model.tokenizer, word, model.vocabulary_size) for word in words)
    except TargetError as error:
        raise ConfigurationError(f"audit pack {pack.name!r} is not for {model.name}: {error}") from error
