"""Make the built-in files from a seed: model, transcoders, prompts and card, in this order.

Each later step works on what the earlier one saved, rounded to float16, so the figures on the card are
those of the files.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from pipeline.demo.card import card
from pipeline.demo.corpus import Corpus, build_tokenizer, evaluation_examples
from pipeline.demo.measurement import Measurements, load_files, load_model, measure, trace
from pipeline.demo.prompts import demo_prompts, write_prompts
from pipeline.demo.recipe import Recipe
from pipeline.demo.training import mlp_activations, train_model, train_transcoder
from pipeline.transcoders import Transcoders, write_transcoders

NAME = "circuit-sweep-demo"
"""Name of the model and of its transcoders in their files."""

Progress = Callable[[str, int], Callable[[], None]]
"""Given a stage and its number of steps, returns what is to be called once a step."""


def no_progress(stage: str, steps: int) -> Callable[[], None]:
    """Report nothing."""
    return lambda: None


def build(folder: Path, recipe: Recipe, progress: Progress = no_progress) -> Measurements:
    """Train, save and measure everything; return what was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(recipe.seed)
    model = train_model(corpus, recipe.model, recipe.seed, progress("model", recipe.model.steps))
    model.half().save_pretrained(folder / "model")
    build_tokenizer(corpus.vocabulary).save_pretrained(folder / "model")
    # Read back, as `half` has also coarsened the rotary tables, which are not among the weights.
    _build_transcoders(folder, load_model(folder / "model"), corpus, recipe, progress)
    write_prompts(demo_prompts(recipe.seed), folder / "prompts.parquet")
    measurements = _measure(folder, recipe, progress)
    write_card(folder, measurements, recipe)
    return measurements


def write_card(folder: Path, measurements: Measurements, recipe: Recipe) -> None:
    """Write the card as a page and as JSON."""
    (folder / "card.md").write_text(card(measurements, recipe))
    content = {"recipe": asdict(recipe), **asdict(measurements)}
    (folder / "card.json").write_text(json.dumps(content, indent=1) + "\n")


def _build_transcoders(
    folder: Path, model: LlamaForCausalLM, corpus: Corpus, recipe: Recipe, progress: Progress
) -> None:
    training = recipe.transcoders
    facts, words = corpus.training_examples(training.prompts)
    layers = mlp_activations(model, corpus.encode([*facts, *words]))
    advance = progress("transcoders", training.steps * len(layers))
    trained = tuple(
        train_transcoder(rows, training, recipe.seed + layer, advance) for layer, rows in enumerate(layers)
    )
    transcoders = Transcoders(trained, input_hook="mlp.hook_in", output_hook="mlp.hook_out", name=NAME)
    shutil.rmtree(
        folder / "transcoders", ignore_errors=True
    )  # of an earlier training: see `train-demo --output`
    write_transcoders(transcoders, folder / "transcoders", torch.float16, model_name=NAME)


def _measure(folder: Path, recipe: Recipe, progress: Progress) -> Measurements:
    files = load_files(folder)
    measurements = measure(files, evaluation_examples(recipe.seed))
    prompts = files.prompts[: recipe.traced_prompts]
    return replace(measurements, graphs=trace(folder, prompts, progress("graphs", len(prompts))))
