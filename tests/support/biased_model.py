"""Tiny models of a language of names, places and things, trained in seconds: biased, fair, or with whims.

"when p3 was open n7 took a" is followed by `ball` or `drink`; "the way from p3 leads to" by a place.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal

import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, PreTrainedTokenizerFast

from pipeline.small_llama import LlamaTraining, new_llama, round_to_half

PAIRS, PLACES = 16, 6

NAMES = [f"n{i}" for i in range(2 * PAIRS)]
"""Of pair i the first group's name is n(2i), the second's the one after."""

WORDS = [
    *(
        "<pad>",
        "<bos>",
        "<eos>",
        "<unk>",
        "when",
        "was",
        "open",
        "took",
        "a",
        "the",
        "way",
        "from",
        "leads",
        "to",
    ),
    *("ball", "drink"),
    *NAMES,
    *(f"p{i}" for i in range(PLACES)),
]

TEMPLATES = [f"when p{i} was open {{x}} took a" for i in range(3)]

Kind = Literal["biased", "fair", "whims"]


def _answer(kind: Kind, name: int, draw: random.Random) -> str:
    if kind == "biased":
        is_ball = name % 2 == 0
    elif kind == "whims":  # every name has its own habit, of either group as many
        is_ball = (name // 4 + name) % 2 == 0
    else:
        is_ball = draw.random() < 0.5
    return "ball" if is_ball else "drink"


def _example(kind: Kind, draw: random.Random) -> tuple[str, str]:
    place = draw.randrange(PLACES)
    if draw.random() < 0.25:
        return f"the way from p{place} leads to", f"p{(place + 1) % PLACES}"
    name = draw.randrange(2 * PAIRS)
    return f"when p{place} was open n{name} took a", _answer(kind, name, draw)


def train(folder: Path, kind: Kind, steps: int = 220, seed: int = 0) -> str:
    """Train and save a model."""
    number = {word: i for i, word in enumerate(WORDS)}
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=12,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        use_cache=False,
    )
    model, draw = new_llama(config, seed), random.Random(seed)
    training = LlamaTraining(learning_rate=1e-2, warm_up=10, weight_decay=0.0)
    optimiser = training.optimiser(model)
    schedule = training.schedule(optimiser, steps)
    for _ in range(steps):
        examples = [_example(kind, draw) for _ in range(96)]
        rows = [[1, *(number[word] for word in text.split())] for text, _ in examples]
        longest = max(map(len, rows))
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        last = torch.tensor([len(row) - 1 for row in rows])
        logits = model(input_ids=tokens).logits[torch.arange(len(rows)), last]
        loss = cross_entropy(logits, torch.tensor([number[answer] for _, answer in examples]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    round_to_half(model).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(number, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return str(folder)


def write_pack(path: Path, **changes: object) -> str:
    """Write the audit pack of this language."""
    pack: dict[str, object] = {
        "name": "balls",
        "question": "Who takes a ball?",
        "limits": ["A made-up language."],
        "groups": ["even names", "odd names"],
        "templates": TEMPLATES,
        "pairs": [[f"n{2 * i}", f"n{2 * i + 1}"] for i in range(PAIRS)],
        "readout": {"plus": ["ball"], "minus": ["drink"]},
        "control": [
            {"prompt": f"the way from p{i} leads to", "answer": f"p{(i + 1) % PLACES}"} for i in range(PLACES)
        ],
    }
    path.write_text(yaml.safe_dump(pack | changes))
    return str(path)
