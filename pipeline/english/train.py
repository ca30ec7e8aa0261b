"""Make the English model's files from a seed: tokenizer, model, prompts, transcoders and card, in this order.

Each later step works on what the earlier one saved, rounded to float16, so the figures on the card are
those of the files. Texts come packed with this project; `pipeline.english.glosses` makes the pack from
WordNet's files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from pipeline.builtin import ENGLISH_FILES
from pipeline.english.card import card
from pipeline.english.glosses import read_packed
from pipeline.english.measurement import EnglishMeasurements, measure, sides
from pipeline.english.model import ModelTraining, encode, train_model
from pipeline.english.prompts import english_prompts, write_prompts
from pipeline.english.tokenizer import train_tokenizer
from pipeline.training import DICTIONARY_FILE, DictionaryConfig, train_dictionary

NAME = "circuit-sweep-english"
"""Name of the transcoders in their files."""

RECIPE = Path(__file__).parent / "dictionary.yaml"

TEXTS = ("glosses.parquet", "LICENSE-WordNet")
"""Files that training reads and that belong to what it makes."""

Progress = Callable[[str, int], Callable[[], None]]
"""Given a stage and its number of steps, returns what is to be called once a step."""


def build_english(
    folder: Path, training: ModelTraining, seed: int, progress: Progress, steps: int | None = None
) -> EnglishMeasurements:
    """Train, save and measure everything; return what was measured.

    Args:
        folder: of the files, made if missing.
        training: of the model.
        seed: of everything.
        progress: told of stages and steps.
        steps: of the transcoders (default: the recipe's).

    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in TEXTS:
        shutil.copyfile(ENGLISH_FILES / name, folder / name)
    glosses = read_packed(folder / "glosses.parquet")
    build_model(folder, sides(glosses)[0]["text"].to_pylist(), training, seed, progress)
    write_prompts(english_prompts(glosses, seed), folder / "prompts.parquet")
    build_transcoders(folder, seed, progress, steps)
    return write_card(folder, training, seed)


def build_model(
    folder: Path, texts: list[str], training: ModelTraining, seed: int, progress: Progress
) -> None:
    """Train the tokenizer and the model."""
    tokenizer = train_tokenizer(texts)
    tokens = encode(tokenizer, texts)
    advance = progress("model", training.steps(len(tokens)))
    model = train_model(tokens, training, seed, lambda loss: advance())
    model.half().save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")


def build_transcoders(folder: Path, seed: int, progress: Progress, steps: int | None = None) -> None:
    """Train the transcoders, as the recipe says, on the folder's own files."""
    config = dictionary(folder, seed)
    if steps is not None:
        config = config.model_copy(update={"tokens": steps * config.batch_size})
    shutil.rmtree(config.output, ignore_errors=True)  # of an earlier training
    advance = progress("transcoders", config.n_steps)
    scratch = folder / "tokens"
    train_dictionary(config, Path(config.output), scratch, NAME, lambda report: advance())
    shutil.rmtree(scratch)


def dictionary(folder: Path, seed: int) -> DictionaryConfig:
    """Return the recipe for a folder's files."""
    values, lines = DICTIONARY_FILE.read(RECIPE)
    values["text"]["source"] = str(folder / "glosses.parquet")
    own = {"model": str(folder / "model"), "output": str(folder / "transcoders"), "seed": seed}
    return DICTIONARY_FILE.check(values | own, str(RECIPE), lines)


def write_card(folder: Path, training: ModelTraining, seed: int) -> EnglishMeasurements:
    """Measure, and write the card as a page and as JSON."""
    found = measure(folder)
    (folder / "card.md").write_text(card(found, training, seed))
    content = {"seed": seed, "model": asdict(training), **asdict(found)}
    (folder / "card.json").write_text(json.dumps(content, indent=1) + "\n")
    return found
