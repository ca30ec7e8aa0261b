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
from pipeline.english.probing import ClassFeature, class_features
from pipeline.transcoders import load_transcoders

CHOSEN_ON = 12_000
"""Training texts on which the features of classes are chosen."""

FEWEST = 50
"""Held-out texts that a class must have for a feature to be measured."""

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

    classes: list[ClassFeature]
    """The feature that tells each class best."""

    dictionary: dict[str, Any]
    """`metrics.json` of the transcoders: by layer, whole, and of graphs."""

    @property
    def perplexity(self) -> float:
        """Perplexity of held-out definitions."""
        return exp(self.cross_entropy)


def measure(folder: Path) -> EnglishMeasurements:
    """Measure a folder of built-in files."""
    model = LlamaForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    glosses = read_packed(folder / "glosses.parquet")
    train, held_out = sides(glosses)
    held_out_tokens = encode(tokenizer, held_out["text"].to_pylist())
    chosen = train.take(list(range(0, train.num_rows, -(-train.num_rows // CHOSEN_ON))))
    classes = held_out["class"].to_pylist()
    return EnglishMeasurements(
        parameters=model.num_parameters(),
        texts=train.num_rows,
        held_out=held_out.num_rows,
        cross_entropy=cross_entropy(model, held_out_tokens),
        classes=class_features(
            model,
            load_transcoders(str(folder / "transcoders")).to("cpu", torch.float32),
            (
                [text[:-1] for text in encode(tokenizer, chosen["text"].to_pylist())],
                chosen["class"].to_pylist(),
            ),
            ([text[:-1] for text in held_out_tokens], classes),
            sorted(name for name in set(classes) if classes.count(name) >= FEWEST),
        ),
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
