"""Make the built-in files from a seed: model, transcoders, prompts and card, in this order.

Each later step works on what the earlier one saved, rounded to float16, so the figures on the card are
those of the files.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.demo.card import card
from pipeline.demo.corpus import Corpus, build_tokenizer, evaluation_examples
from pipeline.demo.measurement import Measurements, load_files, measure, trace
from pipeline.demo.model_training import train_model
from pipeline.demo.prompts import demo_prompts, write_prompts
from pipeline.demo.recipe import Recipe
from pipeline.training import (
    GroupTraining,
    export_layers,
    layers_of,
    load_language_model,
    prepare_tokens,
    write_dictionary,
)

NAME = "circuit-sweep-demo"
"""Name of the model and of its transcoders in their files."""

MADE_BY = "`circuit-sweep train-demo --seed {seed}`"

TEXTS = 12_000
"""Training prompts on which the transcoders are trained."""

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
    build_transcoders(folder, corpus, recipe, progress)
    write_prompts(demo_prompts(recipe.seed), folder / "prompts.parquet")
    measurements = _measure(folder, recipe, progress)
    write_card(folder, measurements, recipe)
    return measurements


def write_card(folder: Path, measurements: Measurements, recipe: Recipe) -> None:
    """Write the card as a page and as JSON."""
    made_by = MADE_BY.format(seed=recipe.seed)
    (folder / "card.md").write_text(card(measurements, recipe, made_by))
    content = {"made_by": made_by, "recipe": recipe.as_dict(), **asdict(measurements)}
    (folder / "card.json").write_text(json.dumps(content, indent=1) + "\n")


def build_transcoders(folder: Path, corpus: Corpus, recipe: Recipe, progress: Progress) -> None:
    """Train the transcoders of a folder's model by the engine, on prompts that it was trained on."""
    facts, words = corpus.training_examples(TEXTS)
    texts = folder / "training_prompts.parquet"
    pq.write_table(pa.table({"text": [example.text for example in (*facts, *words)]}), texts)
    config = recipe.transcoders
    # Without the answers: a graph's prompt ends before its answer too.
    own = {"text": config.text.model_copy(update={"source": str(texts)}), "seed": recipe.seed}
    config = config.model_copy(update=own | {"model": str(folder / "model")})
    advance = progress("transcoders", config.n_steps)
    shutil.rmtree(folder / "transcoders", ignore_errors=True)  # of an earlier training
    with TemporaryDirectory() as scratch:
        tokens, model = prepare_tokens(config, Path(scratch)), load_language_model(config)
        training = GroupTraining.begin(config, model, tokens, layers_of(config, len(model.layers)))
        while not training.done:
            training.step()
            advance()
        # Without the engine's own report: the card measures the same, and states and facts beside it.
        named = config.model_copy(update={"model": NAME})
        write_dictionary(named, export_layers(training), folder / "transcoders", NAME)
    texts.unlink()


def _measure(folder: Path, recipe: Recipe, progress: Progress) -> Measurements:
    files = load_files(folder)
    measurements = measure(files, evaluation_examples(recipe.seed))
    prompts = files.prompts[: recipe.traced_prompts]
    return replace(measurements, graphs=trace(folder, prompts, progress("graphs", len(prompts))))
