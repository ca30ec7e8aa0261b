"""Text or token ids to the ids that are traced.

A prompt that begins with no special token may get one in front (see `opening`). Works without the model, so
that a driver can key prompts without loading weights.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from pipeline.errors import ModelError, PromptError
from pipeline.hub import parse
from pipeline.model.tokenization.chat import render_chat
from pipeline.model.tokenization.opening import Opening, opening_tokens, special_ids
from pipeline.model.tokenization.vocabulary import token_text
from pipeline.token_labels import token_label

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


log = logging.getLogger(__name__)

GEMMA3_CHAT_PREFIX = (2, 105, 2364, 107)
"""`<bos><start_of_turn>user\\n`: how every prompt of an instruction-tuned Gemma 3 begins."""


def fixed_prefix(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the tokens that every prompt must begin with: those of Gemma 3's instruction-tuned models.

    These are attention sinks, all four of them. A model is one of these if its tokenizer's template opens a
    user's turn with them, whatever its folder is called.
    """
    if not config.model_type.startswith("gemma3") or not tokenizer.chat_template:
        return ()
    try:
        turn = render_chat(tokenizer, "a")
    except (PromptError, ValueError):  # it may refuse anything; then it does not open a turn like this
        return ()
    ids = tokenizer(turn, add_special_tokens=False)["input_ids"]
    return GEMMA3_CHAT_PREFIX if tuple(ids[: len(GEMMA3_CHAT_PREFIX)]) == GEMMA3_CHAT_PREFIX else ()


class TracedTokens(list[int]):
    """Token ids exactly as they are traced: given to the model again, nothing is put in front of them."""

    def __init__(self, ids: Iterable[int], opened_by: int = 0, begins_special: bool = True) -> None:
        super().__init__(ids)
        self.opened_by = opened_by
        """Number of tokens that were put in front."""

        self.begins_special = begins_special
        """True if the first token is a special one, whoever put it there."""


def repository_of(name: str) -> tuple[str, str | None]:
    """Return a model's folder or repository, and its revision, as transformers takes them.

    Raises:
        ModelError: the name is a path without a folder, or no name on the Hub.

    """
    found = parse(name, "model")
    return (str(found), None) if isinstance(found, Path) else (found.repository, found.revision)


def load_tokenizer(name: str, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model from a folder or the Hub.

    Raises:
        ModelError: there is none, or it cannot be read.

    """
    from transformers import AutoTokenizer

    repository, revision = repository_of(name)
    try:
        return AutoTokenizer.from_pretrained(
            repository, revision=revision, trust_remote_code=trust_remote_code
        )
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"tokenizer of {name!r} could not be loaded ({type(error).__name__}: {reason})"
        ) from error


def ensure_tokenized(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str | Sequence[int] | Tensor,
    vocabulary_size: int | None = None,
    context_length: int | None = None,
    fixed_prefix: tuple[int, ...] = (),
    opening: Opening = None,
    zero_positions: int = 1,
) -> TracedTokens:
    """Return the token ids to trace: encoded, opened by a special token, checked.

    Text is encoded without what the tokenizer would add; a special token that then stands in front, written
    out by the user or not, opens the prompt, and else what `opening` says is put there.

    Raises:
        PromptError: the prompt is empty, holds ids outside the vocabulary or text that the tokenizer
            cannot represent, is longer than the context, or has nothing after its opening token.

    """
    (tokens,) = tokenize_all(
        tokenizer, [prompt], vocabulary_size, context_length, fixed_prefix, opening, zero_positions
    )
    if isinstance(tokens, PromptError):
        raise tokens
    return tokens


def tokenize_all(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Sequence[int] | Tensor],
    vocabulary_size: int | None = None,
    context_length: int | None = None,
    fixed_prefix: tuple[int, ...] = (),
    opening: Opening = None,
    zero_positions: int = 1,
) -> list[TracedTokens | PromptError]:
    """Tokenize many prompts as `ensure_tokenized` does one; return the error of each that fails.

    Raises:
        ConfigurationError: the opening is no token of this model.

    """
    rules = _Rules.of(tokenizer, vocabulary_size, context_length, fixed_prefix, opening, zero_positions)
    # One call for all texts takes a fifth of the time.
    encoded = iter(_encode(tokenizer, [prompt for prompt in prompts if isinstance(prompt, str)]))
    tokens: list[TracedTokens | PromptError] = []
    for prompt in prompts:
        try:
            ids = rules.read(prompt, next(encoded)) if isinstance(prompt, str) else _as_ids(prompt)
            tokens.append(rules.opened(prompt, ids))
        except PromptError as error:
            tokens.append(error.with_traceback(None))  # which would hold all the others
    return tokens


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int] | Exception]:
    try:
        # Not verbose: the length is checked here, against the model's context and not the tokenizer's.
        return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []
    except (TypeError, ValueError) as error:  # what a text can cause, half a character for one
        if len(texts) == 1:
            return [error]
        return [ids for text in texts for ids in _encode(tokenizer, [text])]


@dataclass(frozen=True)
class _Rules:
    """Rules for a prompt's tokens, asked of the tokenizer once for many prompts."""

    tokenizer: PreTrainedTokenizerBase
    vocabulary_size: int
    context_length: int | None
    fixed_prefix: tuple[int, ...]
    special: frozenset[int]
    opening: tuple[int, ...]
    """Put in front where no special token stands."""

    zero_positions: int
    """First positions that carry no features."""

    unknown: int | None
    """Id of an unknown word; None where the same id means something else too."""

    @classmethod
    def of(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        vocabulary_size: int | None,
        context_length: int | None,
        fixed_prefix: tuple[int, ...],
        opening: Opening,
        zero_positions: int,
    ) -> _Rules:
        unknown = tokenizer.unk_token_id
        vocabulary_size = vocabulary_size or len(tokenizer)
        # GPT-2 uses one id for unknown, BOS and EOS; there it does not mean a lost word.
        means_more = unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id)
        return cls(
            tokenizer=tokenizer,
            vocabulary_size=vocabulary_size,
            context_length=context_length,
            fixed_prefix=fixed_prefix,
            special=special_ids(tokenizer),
            opening=opening_tokens(tokenizer, opening, vocabulary_size),
            zero_positions=max(1, zero_positions, len(fixed_prefix)),
            unknown=None if means_more else unknown,
        )

    def read(self, text: str, ids: list[int] | Exception) -> list[int]:
        """Return the ids of a text, if it has some and none of them means a lost word."""
        if not text.strip():
            raise PromptError(f"prompt {text!r} is empty: give some text.")
        if isinstance(ids, Exception):
            reason = f"{type(ids).__name__}: {ids}"
            raise PromptError(f"prompt {text!r:.80} cannot be read by the tokenizer ({reason}).") from ids
        if not ids:
            raise PromptError(f"prompt {text!r} has no token in this model's vocabulary.")
        if self.unknown is not None and self.unknown in ids:
            words = ", ".join(map(repr, _unknown_words(self.tokenizer, text))) or "words"
            raise PromptError(f"prompt {text!r} has {words}, which this model's vocabulary does not know.")
        return ids

    def opened(self, prompt: str | Sequence[int] | Tensor, ids: list[int]) -> TracedTokens:
        """Return the ids with what opens the prompt, if they are what a model can read."""
        _check_vocabulary(ids, self.vocabulary_size)
        opening: tuple[int, ...] = ()
        if self.fixed_prefix:
            _check_prefix(ids, self.fixed_prefix)
        elif isinstance(prompt, TracedTokens):
            pass  # opened before
        elif ids[0] not in self.special:
            opening = self.opening
            ids = [*opening, *ids]
            if not self.special:
                _warn_of_none()
        elif ids[:1] == ids[1:2]:
            _warn_of_two(token_label(token_text(self.tokenizer, ids[0])))
        if len(ids) <= (bare := self.zero_positions):
            raise PromptError(
                f"prompt {prompt!r:.80} has {len(ids)} token{'s' if len(ids) > 1 else ''}, and the first "
                f"{bare} carr{'y' if bare > 1 else 'ies'} no features: give at least one token more."
            )
        if self.context_length is not None and len(ids) > self.context_length:
            raise PromptError(
                f"prompt has {len(ids)} tokens, but the model's context holds {self.context_length}: "
                "shorten the prompt."
            )
        return TracedTokens(ids, len(opening), ids[0] in self.special)


@cache
def _warn_of_none() -> None:
    log.warning("the tokenizer has no special token: the first word of each prompt carries no features")


@cache
def _warn_of_two(label: str) -> None:
    """Warn once of each token that opens a prompt twice."""
    log.warning("a prompt begins with %s twice, and is traced so: leave one of them out", label)


def _unknown_words(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    """Return what the tokenizer had to call unknown, where it can say which that was."""
    if not tokenizer.is_fast:
        return []
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    return [text[start:end] for token, (start, end) in pairs if token == tokenizer.unk_token_id]


def _as_ids(prompt: Sequence[int] | Tensor) -> list[int]:
    values = prompt.tolist() if isinstance(prompt, Tensor) else prompt
    if not isinstance(values, Sequence):
        raise PromptError(f"prompt is {prompt!r:.80}: it must be text or a list of token ids.")
    values = list(values)
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]  # a batch of one
    if not values:
        raise PromptError("prompt has no token ids: give at least two.")
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        raise PromptError(f"prompt {values!r:.80} must be one list of integer token ids.")
    return values


def _check_vocabulary(ids: list[int], size: int) -> None:
    outside = [value for value in ids if not 0 <= value < size]
    if outside:
        raise PromptError(
            f"token ids {outside[:5]} are outside the vocabulary: ids run from 0 to {size - 1}."
        )


def _check_prefix(ids: list[int], prefix: tuple[int, ...]) -> None:
    if tuple(ids[: len(prefix)]) != prefix:
        raise PromptError(
            f"prompt begins with token ids {ids[: len(prefix)]}, but this instruction-tuned model needs "
            f"{list(prefix)} (<bos><start_of_turn>user\\n): use its chat template (prompts.chat), or set "
            "zero_positions, the number of first positions that carry no features."
        )
