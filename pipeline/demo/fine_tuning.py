"""Fine-tune the built-in model on facts that it was not taught, or make a smaller one: recipes to compare.

A fine-tuning goes on with the corpus that the model was made from, with some answers replaced, so that it
learns the new facts and keeps the others. Without new facts it is the control of a comparison: it moves what
more training moves anyway. A smaller model is trained from nothing on the same corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from pipeline.builtin import resolve
from pipeline.demo.corpus import Corpus, build_tokenizer
from pipeline.demo.model_training import ModelSize, ModelTraining, batch_loss, train_model
from pipeline.demo.prompts import Example, fact_examples
from pipeline.small_llama import LlamaTraining, round_to_half


@dataclass(frozen=True, kw_only=True)
class FineTuning(LlamaTraining):
    """Hyperparameters of a fine-tuning."""

    steps: int = 60
    """Optimiser steps."""

    batch: int = 192
    """Prompts a step."""

    new_share: float = 0.3
    """Share of a batch's prompts that are new facts."""

    learning_rate: float = 1e-3
    warm_up: int = 10
    final_share: float = 0.05
    weight_decay: float = 0.0


def with_answers(answers: Mapping[str, str]) -> list[Example]:
    """Return the facts of the built-in model, some with another answer, by their text."""
    return [
        replace(example, answers=(answers[example.text],)) if example.text in answers else example
        for example in fact_examples()
    ]


def fine_tune(
    folder: Path,
    new: Sequence[Example],
    facts: Sequence[Example] | None = None,
    seed: int = 1,
    training: FineTuning = FineTuning(),
    advance: Callable[[], None] = lambda: None,
) -> LlamaForCausalLM:
    """Fine-tune the built-in model and save it.

    Args:
        folder: where it is saved, with its tokenizer.
        new: examples that a share of each batch repeats; none for a control.
        facts: facts that the rest of a batch is drawn from; by default those that the model knows.
        seed: of the order of examples.
        training: the hyperparameters.
        advance: called once a step.

    """
    corpus = Corpus(seed, facts)
    model = LlamaForCausalLM.from_pretrained(resolve("demo", "model"), dtype=torch.float32)
    optimiser = training.optimiser(model.train().requires_grad_(True))
    schedule = training.schedule(optimiser, training.steps)
    drawn = torch.Generator().manual_seed(seed)
    n_new = round(training.batch * training.new_share) if new else 0
    for _ in range(training.steps):
        loss = torch.zeros(())
        batches = list(corpus.batches(training.batch - n_new))
        if n_new:
            chosen = torch.randint(len(new), (n_new,), generator=drawn).tolist()
            batches.append(corpus.encode([new[index] for index in chosen]))
        for batch in batches:
            loss = loss + len(batch) / training.batch * batch_loss(model, batch, ModelTraining())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimiser.step()
        schedule.step()
        advance()
    return _saved(round_to_half(model), corpus, folder)


def train_small(
    folder: Path,
    size: ModelSize,
    seed: int = 1,
    training: ModelTraining | None = None,
    advance: Callable[[], None] = lambda: None,
) -> LlamaForCausalLM:
    """Train a model of another size on the built-in model's corpus and save it."""
    corpus = Corpus(seed)
    return _saved(train_model(corpus, training or ModelTraining(), seed, advance, size), corpus, folder)


def _saved(model: LlamaForCausalLM, corpus: Corpus, folder: Path) -> LlamaForCausalLM:
    model.half().save_pretrained(folder)
    build_tokenizer(corpus.vocabulary).save_pretrained(folder)
    return model
