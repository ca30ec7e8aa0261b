"""The English model's tokenizer: byte-level BPE learnt from the definitions, numbers digit by digit."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

PAD, BOS, EOS = 0, 1, 2
SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>")
VOCABULARY = 4096
"""Tokens, special ones and the 256 bytes counted."""

CONTEXT_LENGTH = 128
"""Most tokens of a text, `<bos>` counted."""


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learn the merges, and wrap them as a Hugging Face tokenizer that opens every text with `<bos>`."""
    pad, bos, eos = SPECIAL_TOKENS
    tokenizer = Tokenizer(models.BPE())
    # A word has one spelling, with its space, at the beginning of a text too.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.ByteLevel(add_prefix_space=True), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        model_max_length=CONTEXT_LENGTH,
        clean_up_tokenization_spaces=False,
    )
