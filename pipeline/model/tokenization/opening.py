"""The token in front of a prompt.

Position 0 carries no features: transformers park attention there, and its activations are out of scale. A
prompt that begins with a word would lose the features of that word, so by default one that begins with no
special token gets one in front: BOS, else pad, else EOS. That is circuit-tracer's rule, kept so that the same
prompt has the same graph in both, and the same positions as in graphs that were published. It has a price: a
tokenizer that itself puts nothing there may have a BOS that its model never saw in front of text (SmolLM2's
is the chat marker `<|im_start|>`). `prompts.opening` says otherwise, and plans, tables and `show` say which
token was put there.

What a text, ids or a chat template already begin with is left alone: nothing is put in front of a special
token, also where only the vocabulary's own list (`added_tokens_decoder`) says that it is one.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline.errors import ConfigurationError, TargetError
from pipeline.model.tokenization.vocabulary import token_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Opening = str | int | None
"""`tokenizer`, `none`, or a token by its text or id; None for the default."""

PROBE = "a"
"""Text that shows what a tokenizer adds to any text."""


def opening_tokens(
    tokenizer: PreTrainedTokenizerBase, opening: Opening, vocabulary_size: int
) -> tuple[int, ...]:
    """Return the ids that are put in front of a prompt which begins with no special token.

    Raises:
        ConfigurationError: the opening is no token of this model.

    """
    if opening is None:
        return _circuit_tracers(tokenizer)
    if opening == "none":
        return ()
    if opening == "tokenizer":
        return tokenizers_own(tokenizer)
    try:
        return (token_id(tokenizer, opening, vocabulary_size),)
    except TargetError as error:
        raise ConfigurationError(
            f"prompts.opening is {opening!r}, which is neither `tokenizer` nor `none` nor one token of this "
            f"model ({error})."
        ) from error


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the ids of special tokens, named ones and those that the vocabulary marks as special."""
    found = set(tokenizer.all_special_ids)
    with suppress(NotImplementedError):  # Mistral's own tokenizers keep no such list
        found |= {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    return frozenset(found)


def tokenizers_own(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the ids that the tokenizer itself puts in front of a text."""
    plain = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    whole = tokenizer(PROBE)["input_ids"]
    starts = (n for n in range(len(whole)) if whole[n : n + len(plain)] == plain)
    return tuple(whole[: next(starts, 0)])


def _circuit_tracers(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    named = (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id)
    # Compared with None, not for truth: 0 is a valid BOS.
    found = (token for token in (*named, *tokenizer.all_special_ids) if token is not None)
    return tuple(list(found)[:1])
