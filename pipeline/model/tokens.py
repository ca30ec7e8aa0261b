"""Text or token ids to the ids that are traced.

Position 0 of a prompt carries no features (transformers park attention there and its activations are
out of scale), so a prompt that does not begin with a special token gets one in front: BOS, else pad,
else EOS. Works without the model, so that a driver can key prompts without loading weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from pipeline.errors import ModelError, PromptError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


GEMMA3_CHAT_PREFIX = (2, 105, 2364, 107)
"""`<bos><start_of_turn>user\\n`: how every prompt of an instruction-tuned Gemma 3 begins."""


def load_tokenizer(
    name: str, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model from a folder or the hub.

    Raises:
        ModelError: there is none, or it cannot be read.

    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
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
) -> list[int]:
    """Return the token ids to trace: encoded, opened by a special token, checked.

    Text is encoded without what the tokenizer would add; whichever special token then stands in front,
    written out by the user or not, opens the prompt (circuit-tracer's rule).

    Raises:
        PromptError: the prompt is empty, holds ids outside the vocabulary or text that the tokenizer
            cannot represent, is longer than the context, or has nothing after its opening token.

    """
    ids = _encode(tokenizer, prompt) if isinstance(prompt, str) else _as_ids(prompt)
    _check_vocabulary(ids, vocabulary_size or len(tokenizer))
    if fixed_prefix:
        _check_prefix(ids, fixed_prefix)
    elif ids[0] not in tokenizer.all_special_ids:
        first = _opening_token(tokenizer)
        ids = ids if first is None else [first, *ids]
    if len(ids) <= (opening := max(1, len(fixed_prefix))):
        raise PromptError(
            f"prompt {prompt!r:.80} has {len(ids)} token{'s' if len(ids) > 1 else ''}, and the first "
            f"{opening} carr{'y' if opening > 1 else 'ies'} no features: give at least one token more."
        )
    if context_length is not None and len(ids) > context_length:
        raise PromptError(
            f"prompt has {len(ids)} tokens, but the model's context holds {context_length}: "
            "shorten the prompt."
        )
    return ids


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    if not text.strip():
        raise PromptError(f"prompt {text!r} is empty: give some text.")
    # Not verbose: the length is checked here, against the model's context and not the tokenizer's.
    ids = list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    if not ids:
        raise PromptError(f"prompt {text!r} has no token in this model's vocabulary.")
    unknown = tokenizer.unk_token_id
    # GPT-2 uses one id for unknown, BOS and EOS; there it does not mean a lost word.
    if unknown in ids and unknown not in (None, tokenizer.bos_token_id, tokenizer.eos_token_id):
        words = ", ".join(map(repr, _unknown_words(tokenizer, text))) or "words"
        raise PromptError(f"prompt {text!r} has {words}, which this model's vocabulary does not know.")
    return ids


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
            f"{list(prefix)} (<bos><start_of_turn>user\\n): use its chat template."
        )


def _opening_token(tokenizer: PreTrainedTokenizerBase) -> int | None:
    candidates = (
        tokenizer.bos_token_id,
        tokenizer.pad_token_id,
        tokenizer.eos_token_id,
        *tokenizer.all_special_ids,
    )
    # Compared with None, not for truth: 0 is a valid BOS.
    return next((token for token in candidates if token is not None), None)
