"""A tiny model with a text, and a dictionary trained on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.model import LanguageModel
from pipeline.training import (
    DictionaryConfig,
    GroupTraining,
    TrainingTokens,
    export_layers,
    load_language_model,
    prepare_tokens,
    write_dictionary,
)
from tests.support.training import dictionary, text_file


@dataclass(frozen=True)
class Trained:
    config: DictionaryConfig
    model: LanguageModel
    tokens: TrainingTokens
    training: GroupTraining
    folder: Path


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return text_file(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="session")
def tiny_dictionary(tiny: Path, text: str) -> Callable[..., DictionaryConfig]:
    """Return a maker of configurations of the tiny model's dictionaries."""

    def make(**changes: object) -> DictionaryConfig:
        values = {"model": str(tiny / "model"), "text": {"source": text, "held_out": 0.3}, "buffer": 600}
        return dictionary(**values | changes)

    return make


@pytest.fixture(scope="session")
def train_tiny(
    tiny_dictionary: Callable[..., DictionaryConfig], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Trained]:
    """Return a function that trains the tiny model's dictionary and writes its files."""

    def run(**changes: object) -> Trained:
        config = tiny_dictionary(**changes)
        folder = tmp_path_factory.mktemp("dictionary")
        model = load_language_model(config)
        tokens = prepare_tokens(config, folder / "tokens")
        training = GroupTraining.begin(config, model, tokens, range(len(model.layers)))
        while not training.done:
            training.step()
        write_dictionary(config, export_layers(training), folder / "files", "tiny")
        return Trained(config, model, tokens, training, folder / "files")

    return run
