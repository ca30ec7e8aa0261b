"""Prompts of the built-in model's language by family, and those that ship."""

from pipeline.demo.prompts.builtin_prompts import SHOWN_STATE, demo_prompts, read_prompts, write_prompts
from pipeline.demo.prompts.example import Example
from pipeline.demo.prompts.fact_families import fact_examples
from pipeline.demo.prompts.word_families import WORD_FAMILIES, draw, family_words, repeat

__all__ = [
    "SHOWN_STATE",
    "WORD_FAMILIES",
    "Example",
    "demo_prompts",
    "draw",
    "fact_examples",
    "family_words",
    "read_prompts",
    "repeat",
    "write_prompts",
]
