"""Make the built-in files from a seed: model, transcoders, prompts and card, in this order.

Each later step works on what the earlier one saved, rounded to float16, so the figures on the card are
those of the files.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from transformers import LlamaForCausalLM

from pipeline.demo.activations import mlp_activations
from pipeline.demo.card import card
from pipeline.demo.corpus import Corpus
from pipeline.demo.dictionary import save_dictionaries
from pipeline.demo.language import build_tokenizer
from pipeline.demo.measure import Measurements, load_files, measure, trace
from pipeline.demo.prompts import demo_prompts, write_prompts
from pipeline.demo.train_model import ModelTraining, train_model
from pipeline.demo.train_transcoders import TranscoderTraining, train_transcoder

NAME = "circuit-sweep-demo"
"""Name of the model and of its transcoders in their files."""

Progress = Callable[[str, int], Callable[[], None]]
"""Given a stage and its number of steps, returns what is to be called once a step."""


@dataclass(frozen=True)
class Recipe:
    """All that decides what the files hold."""

    seed: int = 0
    """Seed of weights, of the order of the data and of the choice of prompts."""

    model: ModelTraining = field(default_factory=ModelTraining)
    """How the model is trained."""

    transcoders: TranscoderTraining = field(default_factory=TranscoderTraining)
    """How each layer's transcoder is trained."""

    traced_prompts: int | None = None
    """How many of the built-in prompts are traced for the card; by default all."""


def no_progress(stage: str, steps: int) -> Callable[[], None]:
    """Report nothing."""
    return lambda: None


def build(folder: Path, recipe: Recipe, progress: Progress = no_progress) -> Measurements:
    """Train, save and measure everything; return what was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(recipe.seed)
    model = train_model(corpus, recipe.model, recipe.seed, progress("model", recipe.model.steps))
    model.half().save_pretrained(folder / "model")
    model.float()
    build_tokenizer(corpus.vocabulary).save_pretrained(folder / "model")
    _build_transcoders(folder, model, corpus, recipe, progress)
    write_prompts(demo_prompts(recipe.seed), folder / "prompts.parquet")
    measurements = _measure(folder, recipe, progress)
    (folder / "card.json").write_text(json.dumps(measurements.as_dict(), indent=1) + "\n")
    (folder / "card.md").write_text(card(measurements, recipe.seed))
    return measurements


def _build_transcoders(
    folder: Path, model: LlamaForCausalLM, corpus: Corpus, recipe: Recipe, progress: Progress
) -> None:
    training = recipe.transcoders
    facts, words = corpus.training_examples(training.prompts)
    layers = mlp_activations(model, corpus.encode([*facts, *words]))
    advance = progress("transcoders", training.steps * len(layers))
    dictionaries = [
        train_transcoder(rows, training, recipe.seed + layer, advance) for layer, rows in enumerate(layers)
    ]
    save_dictionaries(dictionaries, folder / "transcoders", NAME)


def _measure(folder: Path, recipe: Recipe, progress: Progress) -> Measurements:
    files = load_files(folder)
    measurements = measure(files, recipe.seed)
    prompts = files.prompts[: recipe.traced_prompts]
    return replace(measurements, graphs=trace(folder, prompts, progress("graphs", len(prompts))))
