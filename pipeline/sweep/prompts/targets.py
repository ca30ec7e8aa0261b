"""The targets of a prompt's graph, as the user wrote them: in the sweep file, or in a column of the prompts.

Strings become token ids here, in the driver, so that a target is part of its prompt's identity however it is
spelt, and one that does not exist is known before anything is traced.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipeline.attribution import Difference, FeatureTarget
from pipeline.errors import ConfigurationError, TargetError
from pipeline.features import parse_feature
from pipeline.model import token_id
from pipeline.untrusted import cut

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline.attribution import TargetSpec
    from pipeline.sweep.config import TargetsConfig

Kind = Literal["tokens", "difference", "features"]

_MARKS: dict[Kind, tuple[int, ...]] = {"tokens": (), "difference": (-1,), "features": (-2,)}
"""Prefix of a kind's numbers, negative as no token is."""


@dataclass(frozen=True)
class ChosenTargets:
    """Targets that the user chose."""

    numbers: tuple[int, ...]
    """Token ids; of features, one after the other, layer, position and index."""

    kind: Kind = "tokens"
    """Each token for itself; the logit of the first minus that of the second; pre-activations of features."""

    @property
    def key(self) -> tuple[int, ...]:
        """Numbers that tell them from all others."""
        return (*_MARKS[self.kind], *self.numbers)


def chosen_for_all(
    config: TargetsConfig, tokenizer: PreTrainedTokenizerBase, vocabulary_size: int
) -> ChosenTargets | None:
    """Return the targets that a sweep file names for every prompt; None where it leaves them open.

    Raises:
        TargetError: one does not exist.

    """
    if config.tokens is not None:
        return read_targets(config.tokens, tokenizer, vocabulary_size)
    given = config.model_dump(include={"difference", "features"}, exclude_none=True)
    return read_targets(given, tokenizer, vocabulary_size) if given else None


def read_targets(value: Any, tokenizer: PreTrainedTokenizerBase, vocabulary_size: int) -> ChosenTargets:
    """Return what a value names.

    A value is a token's id or string, a list of them, `{difference: [A, B]}`, or
    `{features: [2/350@8, ...]}`, where a feature may also be listed as [layer, position, index].

    Raises:
        TargetError: it names nothing, a string of several tokens, an id that is none, or a token twice.

    """
    if value is None:
        raise TargetError("the row has no target: its value is null.")
    if isinstance(value, Mapping):
        kind, parts = _only_part(value)
        if kind == "features":
            return ChosenTargets(_feature_numbers(parts), kind)
        return ChosenTargets(_ids(_two(parts), tokenizer, vocabulary_size), kind)
    alone = isinstance(value, str) or not isinstance(value, Sequence)
    return ChosenTargets(_ids([value] if alone else value, tokenizer, vocabulary_size))


def read_own_targets(value: Any, tokenizer: PreTrainedTokenizerBase, vocabulary_size: int) -> ChosenTargets:
    """Return what a prompt's own column names: as `read_targets`, but digits are text.

    A column of answers that are numbers comes without quotes from CSV, JSON and Parquet alike.

    Raises:
        TargetError: see `read_targets`.

    """
    return read_targets(_digits_as_text(value), tokenizer, vocabulary_size)


def read_own_ids(value: Any, tokenizer: PreTrainedTokenizerBase, vocabulary_size: int) -> ChosenTargets:
    """Return the token ids that a prompt's own column names.

    A CSV with one empty cell gives all ids of the column as floats.

    Raises:
        TargetError: see `read_targets`.

    """
    if isinstance(value, float):
        value = None if math.isnan(value) else int(value) if value.is_integer() else value
    return read_targets(value, tokenizer, vocabulary_size)


def _digits_as_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        # Not the numbers of features.
        return {**value, "difference": _digits_as_text(value.get("difference"))}
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_digits_as_text(item) for item in value]
    return value


def as_specification(targets: ChosenTargets | None) -> TargetSpec:
    """Return targets as the engine takes them."""
    if targets is None:
        return None
    if targets.kind == "features":
        numbers = targets.numbers
        return [FeatureTarget(*numbers[first : first + 3]) for first in range(0, len(numbers), 3)]
    if targets.kind == "tokens":
        return list(targets.numbers)
    return [Difference(*targets.numbers)]


def _only_part(value: Mapping[str, Any]) -> tuple[Kind, Any]:
    # A column of mappings has all keys in every row, the absent ones as null.
    given = {key: part for key, part in value.items() if part is not None}
    if len(given) != 1 or not given.keys() <= {"difference", "features"}:
        raise TargetError(
            f"target {cut(dict(value))} must be {{difference: [A, B]}} or {{features: [2/350@8, ...]}}."
        )
    return next(iter(given.items()))


def _two(tokens: Any) -> Sequence[Any]:
    if isinstance(tokens, str) or not isinstance(tokens, Sequence) or len(tokens) != 2:
        raise TargetError(f"target's difference is {cut(tokens)}, but must be two tokens, [A, B].")
    return tokens


def _feature_numbers(features: Any) -> tuple[int, ...]:
    alone = isinstance(features, str) or not isinstance(features, Sequence)
    triples = [_feature(feature) for feature in ([features] if alone else features)]
    if not triples:
        raise TargetError("target's features are empty: name at least one, such as 2/350@8.")
    return tuple(number for triple in triples for number in triple)


def _feature(value: Any) -> tuple[int, int, int]:
    """Return layer, position and index of a feature that is named `2/350@8` or listed."""
    if isinstance(value, str):
        try:
            name = parse_feature(value, position="required")
        except ConfigurationError as error:
            raise TargetError(str(error)) from error
        return name.layer, name.position, name.feature
    listed = tuple(value) if isinstance(value, Sequence) else ()
    if len(listed) != 3 or any(not isinstance(n, int) or isinstance(n, bool) for n in listed):
        raise TargetError(
            f"target's feature {cut(value)} must be named as layer/index@position, such as 2/350@8, or "
            "listed as [layer, position, index]."
        )
    return listed


def _ids(values: Sequence[Any], tokenizer: PreTrainedTokenizerBase, vocabulary_size: int) -> tuple[int, ...]:
    ids = tuple(token_id(tokenizer, value, vocabulary_size) for value in values)
    if not ids:
        raise TargetError("targets are empty: name at least one token.")
    if len(set(ids)) < len(ids):
        raise TargetError(f"targets {cut(list(values))} name a token twice: name each once.")
    return ids
