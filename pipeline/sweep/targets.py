"""What a prompt's graph explains, as the user wrote it: in the sweep file, or in a column of the prompts.

Strings become token ids here, in the driver, so that a target is part of its prompt's identity however it is
spelt, and one that does not exist is known before anything is traced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import TargetError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline.attribution import TargetSpec
    from pipeline.model import ReplacementModel
    from pipeline.sweep.config import TargetsConfig

DIFFERENCE = "difference"
"""Key of a mapping that holds two tokens whose logits are subtracted."""


@dataclass(frozen=True)
class ChosenTargets:
    """Targets that the user chose, as token ids."""

    ids: tuple[int, ...]
    """Tokens, each a target of its own unless `is_difference`."""

    is_difference: bool = False
    """One target instead: the logit of the first token minus that of the second."""

    @property
    def key(self) -> tuple[int, ...]:
        """Numbers that tell them from all others; no token has the id -1."""
        return (-1, *self.ids) if self.is_difference else self.ids


def chosen_for_all(
    config: TargetsConfig, tokenizer: PreTrainedTokenizerBase, vocabulary_size: int
) -> ChosenTargets | None:
    """Return the targets that a sweep file names for every prompt; None where it leaves them open.

    Raises:
        TargetError: one does not exist.

    """
    if config.tokens is not None:
        return read_targets(config.tokens, tokenizer, vocabulary_size)
    if config.difference is not None:
        return read_targets({DIFFERENCE: config.difference}, tokenizer, vocabulary_size)
    return None


def read_targets(value: Any, tokenizer: PreTrainedTokenizerBase, vocabulary_size: int) -> ChosenTargets:
    """Return what a value names: a token's id or string, a list of them, or `{difference: [A, B]}`.

    Raises:
        TargetError: it names nothing, a string of several tokens, an id that is none, or a token twice.

    """
    if value is None:
        raise TargetError("the row has no target: its value is null.")
    if isinstance(value, Mapping):
        return ChosenTargets(_ids(_two(value), tokenizer, vocabulary_size), is_difference=True)
    alone = isinstance(value, str) or not isinstance(value, Sequence)
    return ChosenTargets(_ids([value] if alone else value, tokenizer, vocabulary_size))


def as_specification(targets: ChosenTargets | None, model: ReplacementModel) -> TargetSpec:
    """Return targets as the engine takes them."""
    if targets is None:
        return None
    if not targets.is_difference:
        return list(targets.ids)
    first, second = targets.ids
    label = f"{model.tokenizer.decode([first])} - {model.tokenizer.decode([second])}"
    return [(label, 1.0, model.unembedding[first] - model.unembedding[second])]


def _two(value: Mapping[str, Any]) -> Sequence[Any]:
    tokens = value.get(DIFFERENCE)
    if set(value) != {DIFFERENCE} or isinstance(tokens, str) or len(tokens or ()) != 2:
        raise TargetError(f"target {dict(value)!r} must be {{{DIFFERENCE}: [A, B]}} with two tokens.")
    return tokens


def _ids(values: Sequence[Any], tokenizer: PreTrainedTokenizerBase, vocabulary_size: int) -> tuple[int, ...]:
    ids = tuple(_id(value, tokenizer, vocabulary_size) for value in values)
    if not ids:
        raise TargetError("targets are empty: name at least one token.")
    if len(set(ids)) < len(ids):
        raise TargetError(f"targets {list(values)!r} name a token twice: name each once.")
    return ids


def _id(value: Any, tokenizer: PreTrainedTokenizerBase, vocabulary_size: int) -> int:
    if isinstance(value, str):
        return _of_text(value, tokenizer)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < vocabulary_size:
        raise TargetError(
            f"target {value!r} is neither a string nor a token id of this model: ids run from 0 to "
            f"{vocabulary_size - 1}."
        )
    return value


def _of_text(text: str, tokenizer: PreTrainedTokenizerBase) -> int:
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1:
        raise TargetError(
            f"target {text!r} is {len(ids)} tokens ({ids}) in this model's vocabulary: name a single token "
            "(mind a leading space), or give its id."
        )
    if ids[0] == tokenizer.unk_token_id and text != tokenizer.unk_token:
        raise TargetError(f"target {text!r} is no token that this model's vocabulary knows.")
    return ids[0]
