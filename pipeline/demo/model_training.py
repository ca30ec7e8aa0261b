"""Train the built-in model: a four-layer Llama of 1.4 M parameters on a language of facts and patterns.

The loss is on the answer, because only the answer is determined by the prompt; two small terms add what that
alone does not teach: all tokens of a quarter of the batch (the shape of the language), and lists of words
written twice, scored on the whole repeat (without it induction stays at a third right).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from pipeline.demo.corpus import BOS, CONTEXT_LENGTH, EOS, PAD, Batch, Corpus, repeat_mask
from pipeline.small_llama import LlamaTraining, new_llama, round_to_half


@dataclass(frozen=True, kw_only=True)
class ModelTraining(LlamaTraining):
    """Hyperparameters of the model's training."""

    steps: int = 520
    """Optimiser steps."""

    batch: int = 256
    """Prompts a step."""

    repeats: int = 32
    """Lists written twice a step."""

    all_tokens_weight: float = 0.1
    """Weight of the loss on all tokens of a quarter of the batch."""

    repeats_weight: float = 0.3
    """Weight of the loss on lists written twice."""


@dataclass(frozen=True)
class ModelSize:
    """Size of the model."""

    width: int = 128
    layers: int = 4


def train_model(
    corpus: Corpus,
    training: ModelTraining,
    seed: int,
    advance: Callable[[], None] = lambda: None,
    size: ModelSize = ModelSize(),
) -> LlamaForCausalLM:
    """Train a model from a seed; `advance` is called once a step."""
    model = new_model(len(corpus.vocabulary), seed, size)
    optimiser = training.optimiser(model)
    schedule = training.schedule(optimiser, training.steps)
    for _ in range(training.steps):
        loss = training.repeats_weight * _repeat_loss(model, corpus.repeats(training.repeats))
        for batch in corpus.batches(training.batch):
            loss = loss + len(batch) / training.batch * batch_loss(model, batch, training)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimiser.step()
        schedule.step()
        advance()
    return round_to_half(model)


def new_model(vocabulary_size: int, seed: int, size: ModelSize = ModelSize()) -> LlamaForCausalLM:
    """Build the untrained model."""
    config = LlamaConfig(
        vocab_size=vocabulary_size,
        hidden_size=size.width,
        intermediate_size=4 * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=False,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        use_cache=False,
    )
    return new_llama(config, seed)


def batch_loss(model: LlamaForCausalLM, batch: Batch, training: ModelTraining) -> Float[Tensor, ""]:
    """Return the loss on the answers, plus that on all tokens of every fourth prompt."""
    hidden = model.model(input_ids=batch.tokens[:, :-1]).last_hidden_state
    logits = model.lm_head(hidden[torch.arange(len(batch)), batch.last])
    all_logits = model.lm_head(hidden[::4])
    all_loss = cross_entropy(all_logits.flatten(0, 1), batch.tokens[::4, 1:].flatten(), ignore_index=PAD)
    return cross_entropy(logits, batch.answers) + training.all_tokens_weight * all_loss


def _repeat_loss(model: LlamaForCausalLM, batch: Batch) -> Float[Tensor, ""]:
    hidden = model.model(input_ids=batch.tokens[:, :-1]).last_hidden_state
    known = repeat_mask(batch)[:, :-1]
    return cross_entropy(model.lm_head(hidden[known]), batch.tokens[:, 1:][known])
