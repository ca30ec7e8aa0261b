"""The prompts of a sweep, counted: how many, how long, how many that cannot be traced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.errors import PromptError
from pipeline.planning import Reservoir
from pipeline.runtime import Shards
from pipeline.sweep.prompts.items import TokenizedPrompt

KEPT_PROMPTS = 4096
"""Prompts of a large dataset that are kept, to draw a sample from."""


@dataclass(frozen=True)
class PromptCounts:
    """Figures of all prompts that need no tracing."""

    lengths: Counter[int]
    """Number of prompts of each length in positions."""

    rejected: int
    """Prompts that cannot be traced: no tokens, too many, or a target that does not exist."""

    repeated: int
    """Prompts with the tokens of an earlier one."""

    kept: list[TokenizedPrompt]
    """Prompts to draw from."""

    openings: Mapping[tuple[int, ...], int] = field(default_factory=dict)
    """Number of prompts by the token ids that were put in front of them; none where they were left alone."""

    begin_with_words: int = 0
    """Prompts whose first token, which carries no features, is not a special one."""

    same_id: int = 0
    """Prompts whose id an earlier, different one has."""

    shared_ids: Mapping[str, int] = field(default_factory=dict)
    """The first of these ids, with the number of prompts of each."""

    @property
    def count(self) -> int:
        """Prompts to trace."""
        return self.lengths.total()


def count_prompts(shards: Shards, seed: int) -> PromptCounts:
    """Read, tokenise and count all prompts.

    Raises:
        PromptError: none of those that are left can be traced.

    """
    lengths: Counter[int] = Counter()
    reservoir: Reservoir[TokenizedPrompt] = Reservoir(KEPT_PROMPTS, seed)
    openings: Counter[tuple[int, ...]] = Counter()
    rejected, begin_with_words, example = 0, 0, ""
    for shard in shards:
        rejected += len(shard.rejected)
        example = example or next((failed.message for failed in shard.rejected), "")
        for prompt in shard.items:
            lengths[len(prompt.token_ids)] += 1
            openings[prompt.token_ids[: prompt.opened_by]] += 1
            begin_with_words += not prompt.begins_special
            reservoir.offer(prompt)
    if rejected and not lengths:
        raise PromptError(f"none of the {rejected} prompts can be traced. The first: {example}")
    counts = shards.counts
    return PromptCounts(
        lengths=lengths,
        rejected=rejected,
        repeated=counts.repeated,
        kept=reservoir.items,
        openings=openings,
        begin_with_words=begin_with_words,
        same_id=counts.same_id,
        shared_ids=shards.shared_ids,
    )
