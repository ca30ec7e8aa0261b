"""Prompts to items of work: tokenise, read each prompt's own targets, key.

Runs in the driver, a few prompts ahead of what is asked for: many short texts are tokenised faster together.
A prompt that cannot be tokenised becomes an item that is refused, and with it a row of `failures`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from pipeline.errors import PromptError, TargetError
from pipeline.runtime import Item, StageError
from pipeline.store.commits import prompt_key, text_key
from pipeline.sweep.positions import LAST, Positions, last_position

if TYPE_CHECKING:
    from pipeline.model import TracedTokens
    from pipeline.sweep.prompts.reader import Prompt
    from pipeline.sweep.prompts.targets import ChosenTargets

Tokenize = Callable[[Sequence[Any]], "Sequence[TracedTokens | PromptError]"]
"""The contents of prompts to the token ids of each, or to the reason why it has none."""

ReadTargets = Callable[[Any], "ChosenTargets"]
"""A prompt's own column to targets."""

TOGETHER = 64
"""Prompts that are tokenised together."""

NO_PROMPT = PromptError("the row has no prompt: its value is null.")


@dataclass(slots=True, kw_only=True)
class TokenizedPrompt(Item):
    """A prompt that is ready to be traced."""

    token_ids: tuple[int, ...] = ()
    """Token ids of the whole text."""

    sequence_key: int | None = None
    """Hash of those that are traced, targets left out (default: the item's own key)."""

    targets: ChosenTargets | None = None
    """Targets that its graph explains, where prompts differ in that."""

    opened_by: int = 0
    """Number of tokens that were put in front of it."""

    begins_special: bool = True
    """True if its first token is a special one."""


@dataclass(frozen=True)
class PromptItems:
    """The items of a sweep, in the order of its dataset."""

    prompts: Iterable[Prompt]
    tokenize: Tokenize
    read_targets: ReadTargets | None = None
    """Set where prompts have targets of their own."""

    positions: Positions = LAST
    """Rule for the positions that are traced; what follows the last of them is no part of the key."""

    def __iter__(self) -> Iterator[TokenizedPrompt]:
        """Yield the items."""
        prompts = iter(self.prompts)
        while together := list(islice(prompts, TOGETHER)):
            contents = [prompt.content for prompt in together if prompt.content is not None]
            tokens = iter(self.tokenize(contents))
            for prompt in together:
                yield self._item(prompt, NO_PROMPT if prompt.content is None else next(tokens))

    def _item(self, prompt: Prompt, tokens: TracedTokens | PromptError) -> TokenizedPrompt:
        if isinstance(tokens, PromptError):
            # There are no tokens to hash, and a failure needs a key, too, to be done once.
            return _item(prompt, text_key(repr(prompt.content)), refusal=StageError("tokenize", tokens))
        try:
            targets = None if self.read_targets is None else self.read_targets(prompt.targets)
        except TargetError as error:
            key = text_key(repr((prompt.content, prompt.targets)))
            return _item(prompt, key, refusal=StageError("targets", error))
        traced = tokens[: last_position(self.positions, len(tokens)) + 1]
        key = sequence_key = prompt_key(traced)
        if targets:
            key = prompt_key(traced, targets.key)
        return _item(
            prompt,
            key,
            token_ids=tuple(tokens),
            sequence_key=sequence_key,
            targets=targets,
            opened_by=tokens.opened_by,
            begins_special=tokens.begins_special,
        )


def _item(prompt: Prompt, key: int, **rest: Any) -> TokenizedPrompt:
    text = prompt.content if isinstance(prompt.content, str) else None
    return TokenizedPrompt(key=key, id=prompt.id, text=text, extra_columns=prompt.columns, **rest)
