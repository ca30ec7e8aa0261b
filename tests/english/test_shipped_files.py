"""The English model's files reach what was promised; a random or an untrained dictionary does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from pipeline import ReplacementModel, attribute
from pipeline.builtin import ENGLISH_FILES
from pipeline.english.card import card as write_card
from pipeline.english.glosses import read_packed
from pipeline.english.measurement import EnglishMeasurements, cross_entropy, sides
from pipeline.english.model import ModelTraining, encode
from pipeline.english.tokenizer import EOS
from pipeline.english.train import RECIPE, dictionary
from pipeline.model import LanguageModel
from pipeline.training import DICTIONARY_FILE, GroupTraining, TrainingTokens, export_layers, prepare_tokens
from pipeline.training.data import ActivationReader, padded_passes
from pipeline.training.report import class_features
from pipeline.training.report.layer_metrics import measure_layers
from pipeline.training.report.model_metrics import measure_model
from pipeline.transcoders import JumpReLU, Transcoders, load_transcoders, write_transcoders

TEXTS, PROMPTS = 150, 8
"""Held-out definitions that the sample is measured on, and those of them that are traced."""

BEST_RANDOM_PLANT = 0.62
"""F1 for plants that the best of 4,096 random directions stays below; the goal was 0.5."""


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    return json.loads((ENGLISH_FILES / "card.json").read_text())


@dataclass(frozen=True)
class Sample:
    model: LanguageModel
    held_out: list[list[int]]
    labelled: TrainingTokens
    """A third of the texts, with their classes."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder = tmp_path_factory.mktemp("english")
    glosses = read_packed(ENGLISH_FILES / "glosses.parquet")
    some = glosses.take(list(range(0, glosses.num_rows, 3)))
    pq.write_table(some.select(["text", "class"]), folder / "glosses.parquet")
    shutil.copytree(ENGLISH_FILES / "model", folder / "model")
    _, held_out = sides(glosses)
    tokenizer = AutoTokenizer.from_pretrained(ENGLISH_FILES / "model")

    def tokens(rows: pa.Table) -> list[list[int]]:
        return [text[:-1] for text in encode(tokenizer, rows["text"].to_pylist())]

    held_out = held_out.take(list(range(0, held_out.num_rows, 3)))
    model = LanguageModel.load(str(ENGLISH_FILES / "model"), "cpu", torch.float32)
    return Sample(model, tokens(held_out), prepare_tokens(dictionary(folder, 0), folder / "tokens"))


def figures(sample: Sample, folder: Path) -> dict[str, float]:
    """Measure a dictionary of the model, the goals' five figures and L0."""
    transcoders = load_transcoders(str(folder)).to("cpu", torch.float32)
    layers = dict(enumerate(transcoders.layers))
    texts = [np.array(text) for text in sample.held_out[:TEXTS]]
    reader = ActivationReader(sample.model, range(4), "mlp.hook_in", False)
    by_layer, means = measure_layers(layers, reader.passes(padded_passes(sample.model, texts)))
    whole = measure_model(sample.model, layers, "mlp.hook_in", means, texts)
    model = ReplacementModel.from_pretrained("english", transcoders=str(folder), device="cpu")
    long_ones = [text for text in sample.held_out if len(text) >= 10][:PROMPTS]
    scores = [attribute(model, torch.tensor(text)).scores() for text in long_ones]
    classes = class_features(layers, reader, sample.labelled)
    plant = next(found for found in classes if found.label == "noun.plant")
    return {
        "fvu": max(layer.fvu for layer in by_layer),
        "l0": max(abs(layer.l0 - 12) for layer in by_layer),
        "recovered": whole.recovered,
        "replacement": median(score[0] for score in scores),
        "completeness": median(score[1] for score in scores),
        "plant": plant.f1,
    }


def reached(found: dict[str, float]) -> dict[str, bool]:
    return {
        "fvu": found["fvu"] <= 0.25,
        "recovered": found["recovered"] >= 0.93,
        "replacement": found["replacement"] >= 0.8,
        "completeness": found["completeness"] >= 0.93,
        "plant": found["plant"] >= BEST_RANDOM_PLANT,
    }


def test_what_ships_reaches_the_goals_on_a_sample(sample: Sample) -> None:
    found = figures(sample, ENGLISH_FILES / "transcoders")
    assert all(reached(found).values()), found
    assert found["l0"] <= 2


def random_dictionary(sample: Sample, folder: Path) -> None:
    """Random directions of the shipped ones' sizes, thresholds at the same L0."""
    shipped = load_transcoders(str(ENGLISH_FILES / "transcoders")).to("cpu", torch.float32)
    generator = torch.Generator().manual_seed(0)
    reader = ActivationReader(sample.model, range(4), "mlp.hook_in", False)
    texts = [np.array(text) for text in sample.held_out[:TEXTS]]
    rows = list(reader.passes(padded_passes(sample.model, texts)))
    layers = []
    for number, layer in enumerate(shipped.layers):
        inputs = torch.cat([part[number].inputs for part in rows])

        def drawn(like: torch.Tensor) -> torch.Tensor:
            directions = torch.randn(like.shape, generator=generator)
            return directions * like.norm(dim=-1, keepdim=True) / directions.norm(dim=-1, keepdim=True)

        encoder = drawn(layer.encoder)
        values = inputs @ encoder.T
        cut = float(values.flatten().kthvalue(values.numel() - 12 * len(inputs)).values)
        layers.append(
            replace(
                layer,
                encoder=encoder,
                encoder_bias=torch.zeros_like(layer.encoder_bias),
                decoder=drawn(layer.decoder_rows(torch.arange(layer.n_features), 0))[:, None],
                activation=JumpReLU(torch.full_like(layer.encoder_bias, cut)),
                skip=None,
            )
        )
    write_transcoders(Transcoders(tuple(layers), "mlp.hook_in", "hook_mlp_out", "random"), folder)


def untrained_dictionary(sample: Sample, folder: Path) -> None:
    """The engine's first weights, exported without a step."""
    texts = read_packed(ENGLISH_FILES / "glosses.parquet").slice(0, 3000).select(["text", "class"])
    pq.write_table(texts, folder.with_suffix(".parquet"))
    values, lines = DICTIONARY_FILE.read(RECIPE)
    values["text"]["source"] = str(folder.with_suffix(".parquet"))
    config = DICTIONARY_FILE.check(values | {"model": str(ENGLISH_FILES / "model")}, str(RECIPE), lines)
    tokens = prepare_tokens(config, folder.with_suffix(".tokens"))
    training = GroupTraining.begin(config, sample.model, tokens, range(4))
    layers = [layer.to(torch.device("cpu"), torch.float32) for layer in export_layers(training).values()]
    write_transcoders(Transcoders(tuple(layers), "mlp.hook_in", "hook_mlp_out", "untrained"), folder)


@pytest.mark.slow
@pytest.mark.parametrize("make", [random_dictionary, untrained_dictionary])
def test_a_dictionary_without_training_reaches_none_of_them(
    make: Callable[[Sample, Path], None], sample: Sample, tmp_path: Path
) -> None:
    make(sample, tmp_path / "dictionary")
    found = figures(sample, tmp_path / "dictionary")
    # Of 4,096 random directions one tells plants well: the best of them is the competitor to beat.
    plant = found.pop("plant")
    assert not any(reached(found | {"plant": 0}).values()), found
    assert plant < BEST_RANDOM_PLANT


def test_the_model_speaks_the_language_of_definitions(sample: Sample, card: dict[str, Any]) -> None:
    llama = LlamaForCausalLM.from_pretrained(ENGLISH_FILES / "model", dtype=torch.float32).eval()
    found = cross_entropy(llama, [[*text, EOS] for text in sample.held_out[::4]])
    assert found == pytest.approx(card["cross_entropy"], rel=0.05)
    untrained = np.log(llama.config.vocab_size)
    assert found < untrained / 2


def test_the_card_reaches_the_goals_and_shows_its_figures(card: dict[str, Any]) -> None:
    dictionary = card["dictionary"]
    plant = next(x for x in dictionary["classes"] if x["label"] == "noun.plant")
    found = {
        "fvu": max(layer["fvu"] for layer in dictionary["layers"]),
        "recovered": dictionary["model"]["recovered"],
        "replacement": dictionary["graphs"]["replacement"],
        "completeness": dictionary["graphs"]["completeness"],
        "plant": plant["f1"],
    }
    assert all(reached(found).values()), found
    measured = EnglishMeasurements(
        **{key: value for key, value in card.items() if key not in ("seed", "model")}
    )
    page = write_card(measured, ModelTraining(**card["model"]), card["seed"])
    assert (ENGLISH_FILES / "card.md").read_text() == page


def test_files_are_small() -> None:
    assert sum(path.stat().st_size for path in ENGLISH_FILES.rglob("*") if path.is_file()) < 8_000_000
