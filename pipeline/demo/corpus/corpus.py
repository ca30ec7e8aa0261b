"""Training data of the built-in model: every fact in turn, and fresh word prompts at each step."""

from collections.abc import Sequence
from random import Random

import torch
from jaxtyping import Bool
from torch import Tensor

from pipeline.demo.corpus.language import Batch, Vocabulary, build_vocabulary, encode_batch
from pipeline.demo.prompts import WORD_FAMILIES, Example, draw, fact_examples, repeat

WORD_SHARE = 0.3
"""Share of a batch that is drawn from the word families, the same number from each."""


class Corpus:
    """The training side of the data, drawn in an order that the seed decides."""

    def __init__(self, seed: int, facts: Sequence[Example] | None = None) -> None:
        """Draw from `facts`, by default those of the built-in model."""
        self.vocabulary: Vocabulary = build_vocabulary()
        self.facts = fact_examples() if facts is None else list(facts)
        self._trained_facts = [example for example in self.facts if not example.held_out]
        self._random = Random(seed)
        self._queue: list[Example] = []

    def batches(self, size: int) -> tuple[Batch, Batch]:
        """Draw `size` training prompts: facts, and word prompts apart, which are twice as long."""
        facts, words = self.training_examples(size)
        return self.encode(facts), self.encode(words)

    def training_examples(self, size: int) -> tuple[list[Example], list[Example]]:
        """Draw facts, in rounds over all of them, and word prompts, the same number of each family."""
        per_family = round(size * WORD_SHARE / len(WORD_FAMILIES))
        words = [draw(f, self._random, False) for f in WORD_FAMILIES for _ in range(per_family)]
        return self._next_facts(size - len(words)), words

    def encode(self, examples: list[Example]) -> Batch:
        """Encode prompts, ambiguous ones each with one of their answers at random."""
        answers = [self._random.choice(example.answers) for example in examples]
        return encode_batch(self.vocabulary, examples, answers)

    def repeats(self, size: int) -> Batch:
        """Draw word lists written twice; `last` and `answers` are those of the list's last word."""
        lists = [repeat(self._random, self._random.randint(3, 6)) for _ in range(size)]
        examples = [Example(" ".join(words[:-1]), "induction", (words[-1],)) for words in lists]
        return encode_batch(self.vocabulary, examples, [words[-1] for words in lists])

    def _next_facts(self, size: int) -> list[Example]:
        while len(self._queue) < size:
            self._queue += self._random.sample(self._trained_facts, len(self._trained_facts))
        taken, self._queue = self._queue[:size], self._queue[size:]
        return taken


def evaluation_examples(seed: int, per_word_family: int = 200) -> list[Example]:
    """Return every fact, and `per_word_family` fresh prompts of each word family and side of the split."""
    random = Random(f"test {seed}")
    drawn = [
        draw(family, random, held_out)
        for family in WORD_FAMILIES
        for held_out in (False, True)
        for _ in range(per_word_family)
    ]
    return [*fact_examples(), *drawn]


def repeat_mask(batch: Batch) -> Bool[Tensor, "prompts positions"]:
    """Mark where the next word of a list written twice can be known: from the repeat's first word on."""
    positions = torch.arange(batch.tokens.shape[1])[None, :]
    # `<bos>`, then n words, then n - 1 of them again: the last position is 2n - 1.
    list_length = (batch.last[:, None] + 1) // 2
    return (positions > list_length) & (positions <= batch.last[:, None])
