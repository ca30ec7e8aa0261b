"""The built-in model's vocabulary: whole words, the special tokens first.

A word that the model was never taught becomes `<unk>`, which no training prompt holds: the engine refuses
such a prompt, where a tokenizer without `<unk>` would fail with an exception of no known kind. The
tokenizer adds `<bos>`, as the model was trained with it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from pipeline.demo.prompts import Example, fact_examples, family_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3
SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")
CONTEXT_LENGTH = 16
"""Most tokens of a prompt, `<bos>` and the answer counted."""


@dataclass(frozen=True)
class Vocabulary:
    """The words of the language, in the order of their token ids."""

    words: tuple[str, ...]
    """All words, special tokens first."""

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token id of each word."""
        return {word: index for index, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a prompt, `<bos>` first."""
        return [BOS, *(self.ids[word] for word in text.split())]


def build_vocabulary() -> Vocabulary:
    """Collect the words of all families, in the order in which they are first used."""
    fact_words = [word for example in fact_examples() for word in example.words]
    return Vocabulary(tuple(dict.fromkeys([*SPECIAL_TOKENS, *family_words(), *fact_words])))


def build_tokenizer(vocabulary: Vocabulary) -> "PreTrainedTokenizerFast":
    """Wrap the vocabulary as a Hugging Face tokenizer that splits at spaces."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pad, bos, eos, unknown = SPECIAL_TOKENS
    tokenizer = Tokenizer(models.WordLevel(vocabulary.ids, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        unk_token=unknown,
        model_max_length=CONTEXT_LENGTH,
        clean_up_tokenization_spaces=False,
    )


@dataclass(frozen=True)
class Batch:
    """Prompts as padded token ids, each followed by its answer."""

    tokens: Int[Tensor, "prompts positions"]
    """`<bos>`, the prompt, the answer, then `<pad>`."""

    last: Int[Tensor, " prompts"]
    """Position of each prompt's last token, where the answer is predicted."""

    answers: Int[Tensor, " prompts"]
    """Token id of each prompt's answer."""

    def __len__(self) -> int:
        return len(self.last)

    def select(self, rows: Int[Tensor, " rows"]) -> "Batch":
        """Return some of the prompts, cut to the longest of them."""
        longest = int(self.last[rows].max()) + 2
        return Batch(self.tokens[rows, :longest], self.last[rows], self.answers[rows])


def encode_batch(vocabulary: Vocabulary, examples: Sequence[Example], answers: Iterable[str]) -> Batch:
    """Encode prompts with the answer that each shall have."""
    rows = [vocabulary.encode(f"{x.text} {answer}") for x, answer in zip(examples, answers, strict=True)]
    tokens = torch.full((len(rows), max(map(len, rows))), PAD)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.tensor(row)
    lengths = torch.tensor([len(row) for row in rows])
    return Batch(tokens, lengths - 2, tokens[torch.arange(len(rows)), lengths - 1])
