"""Train the English model: a four-layer Llama of 1.4 M parameters on WordNet's definitions.

Every definition is a text of its own, `<bos>` first and `<eos>` last, as it is when a prompt is traced; texts
of about the same length share a batch, so that little is padding. The loss is on all tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from pipeline.english.tokenizer import BOS, CONTEXT_LENGTH, EOS, PAD, VOCABULARY
from pipeline.small_llama import LlamaTraining, new_llama, round_to_half

POOL = 64
"""Batches whose texts are sorted by length together."""


@dataclass(frozen=True, kw_only=True)
class ModelTraining(LlamaTraining):
    """Hyperparameters of the model's training."""

    epochs: int = 3
    """Times that every text is read."""

    batch: int = 96
    """Texts a step."""

    def steps(self, texts: int) -> int:
        """Return the number of optimiser steps for so many texts."""
        return self.epochs * (texts // self.batch)


def new_model(seed: int) -> LlamaForCausalLM:
    """Build the untrained model."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        use_cache=False,
    )
    return new_llama(config, seed)


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return each text's tokens, `<bos>` first and `<eos>` last, cut to the context."""
    encoded = tokenizer(list(texts), truncation=True, max_length=CONTEXT_LENGTH)["input_ids"]
    return [[*tokens, EOS] for tokens in encoded]


def train_model(
    texts: Sequence[Sequence[int]],
    training: ModelTraining,
    seed: int,
    advance: Callable[[float], None] = lambda loss: None,
) -> LlamaForCausalLM:
    """Train a model from a seed; `advance` is called once a step, with the step's loss."""
    model = new_model(seed)
    optimiser = training.optimiser(model)
    schedule = training.schedule(optimiser, training.steps(len(texts)))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(training.epochs):
        for rows in epoch_batches([len(text) for text in texts], training.batch, generator):
            loss = text_loss(model, [texts[row] for row in rows])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
            optimiser.step()
            schedule.step()
            advance(float(loss.detach()))
    return round_to_half(model)


def epoch_batches(lengths: Sequence[int], batch: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Yield the texts of each step: random pools, sorted by length, cut to batches, in random order.

    The last texts of the epoch, fewer than a batch, are left out of it.
    """
    order = torch.randperm(len(lengths), generator=generator)[: len(lengths) // batch * batch]
    for pool in order.split(POOL * batch):
        batches = sorted(pool.tolist(), key=lambda row: lengths[row])
        for index in torch.randperm(len(pool) // batch, generator=generator).tolist():
            yield batches[index * batch : (index + 1) * batch]


def text_loss(model: LlamaForCausalLM, texts: Sequence[Sequence[int]]) -> Float[Tensor, ""]:
    """Return the mean loss of all tokens after `<bos>`."""
    tokens = padded(texts)
    hidden = model.model(input_ids=tokens[:, :-1]).last_hidden_state
    targets = tokens[:, 1:]
    known = targets != PAD
    return cross_entropy(model.lm_head(hidden[known]), targets[known])


def padded(texts: Sequence[Sequence[int]]) -> Int[Tensor, "texts positions"]:
    """Lay texts out as rows; causal attention keeps the padding at their ends from reaching any token."""
    tokens = torch.full((len(texts), max(map(len, texts))), PAD)
    for row, text in enumerate(texts):
        tokens[row, : len(text)] = torch.tensor(text)
    return tokens
