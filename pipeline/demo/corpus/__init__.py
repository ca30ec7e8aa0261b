"""The built-in model's language as tokens, and the corpus it is trained on."""

from pipeline.demo.corpus.corpus import Corpus, evaluation_examples, repeat_mask
from pipeline.demo.corpus.language import (
    BOS,
    CONTEXT_LENGTH,
    EOS,
    PAD,
    Batch,
    Vocabulary,
    build_tokenizer,
    build_vocabulary,
    encode_batch,
)

__all__ = [
    "BOS",
    "CONTEXT_LENGTH",
    "EOS",
    "PAD",
    "Batch",
    "Corpus",
    "Vocabulary",
    "build_tokenizer",
    "build_vocabulary",
    "encode_batch",
    "evaluation_examples",
    "repeat_mask",
]
