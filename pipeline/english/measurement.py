"""What the English model and its transcoders reach, measured on the files as they ship."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from pipeline.english.glosses import read_packed
from pipeline.english.model import encode, text_loss

FEWEST = 50
"""Held-out texts that a class must have for its feature to be shown."""

AT_ONCE = 128
"""Texts of one forward pass."""


@dataclass(frozen=True)
class EnglishMeasurements:
    """Figures of the card."""

    parameters: int
    """Parameters of the model, the embedding counted once."""

    texts: int
    """Definitions that were trained on."""

    held_out: int
    """Definitions that were not."""

    cross_entropy: float
    """Of held-out definitions, `<eos>` counted, nats a token."""

    dictionary: dict[str, Any]
    """`metrics.json` of the transcoders: by layer, whole, of graphs, and the best feature of each class."""

    @property
    def perplexity(self) -> float:
        """Perplexity of held-out definitions."""
        return exp(self.cross_entropy)

    @property
    def classes(self) -> list[dict[str, Any]]:
        """The feature that tells each class best, of classes with enough held-out texts; best told first."""
        enough = [found for found in self.dictionary["classes"] if found["held_out"] >= FEWEST]
        return sorted(enough, key=lambda found: (-found["f1"], found["label"]))


def measure(folder: Path) -> EnglishMeasurements:
    """Measure a folder of built-in files."""
    model = LlamaForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    glosses = read_packed(folder / "glosses.parquet")
    train, held_out = sides(glosses)
    held_out_tokens = encode(tokenizer, held_out["text"].to_pylist())
    return EnglishMeasurements(
        parameters=model.num_parameters(),
        texts=train.num_rows,
        held_out=held_out.num_rows,
        cross_entropy=cross_entropy(model, held_out_tokens),
        dictionary=json.loads((folder / "transcoders" / "metrics.json").read_text()),
    )


def sides(glosses: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return the definitions that are trained on, and those held out."""
    held_out = glosses["held_out"].to_numpy()
    return glosses.filter(pa.array(~held_out)), glosses.filter(pa.array(held_out))


@torch.no_grad()
def cross_entropy(model: LlamaForCausalLM, texts: Sequence[Sequence[int]]) -> float:
    """Return the mean loss of all tokens after `<bos>`."""
    total, tokens = 0.0, 0
    for start in range(0, len(texts), AT_ONCE):
        part = texts[start : start + AT_ONCE]
        count = sum(len(text) - 1 for text in part)
        total += float(text_loss(model, part)) * count
        tokens += count
    return total / tokens
