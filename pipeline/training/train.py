"""A whole training in this process: text, steps, files, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq

from pipeline.model import LanguageModel
from pipeline.training.config import DictionaryConfig
from pipeline.training.data import TrainingTokens, prepare_tokens
from pipeline.training.export import export_layers
from pipeline.training.finish import finish_layers
from pipeline.training.group_training import GroupTraining, layers_of, load_language_model
from pipeline.training.report import (
    DictionaryMetrics,
    FinishMetrics,
    LayerMetrics,
    TrainingFacts,
    card,
    load_against,
    measure_dictionary,
    measure_start,
    training_table,
)
from pipeline.training.step_report import StepReport
from pipeline.training.warm_start import load_start
from pipeline.training.write import write_dictionary
from pipeline.transcoders import TranscoderLayer
from schemas import TRAINING


def train_dictionary(
    config: DictionaryConfig,
    folder: Path,
    tokens_folder: Path,
    name: str = "",
    watch: Callable[[StepReport], None] = lambda report: None,
) -> DictionaryMetrics:
    """Train a dictionary and write its files, `metrics.json`, `training.parquet` and `card.md`.

    Args:
        config: of the dictionary; its `output` is not looked at.
        folder: of the files, on this machine; refused if it is not empty.
        tokens_folder: of the text's tokens, made if missing.
        name: of the set (default: the folder's).
        watch: called with what each step saw.

    Raises:
        ConfigurationError, ModelError, TranscoderError: something that the configuration names is no good.
        TrainingError: a loss is not a number, or far from its mean.

    """
    model = load_language_model(config)
    if config.against is not None:
        load_against(config)  # refused before hours are spent
    tokens = prepare_tokens(config, tokens_folder)
    start = None if config.start is None else load_start(config, model)
    before = None if start is None else measure_start(config, model, tokens, start)
    training = GroupTraining.begin(config, model, tokens, layers_of(config, len(model.layers)), start=start)
    started = time.perf_counter()
    while not training.done:
        watch(training.step())
    facts = TrainingFacts.of([training.state()], time.perf_counter() - started)
    return write_measured(config, model, tokens, export_layers(training), folder, name, facts, before)


def write_measured(
    config: DictionaryConfig,
    model: LanguageModel,
    tokens: TrainingTokens,
    layers: Mapping[int, TranscoderLayer],
    folder: Path,
    name: str = "",
    facts: TrainingFacts | None = None,
    start: Sequence[LayerMetrics] | None = None,
) -> DictionaryMetrics:
    """Finish trained layers, where that is asked for, and write them with their report.

    Args:
        config: of the dictionary.
        model: the model that it is for.
        tokens: of the text.
        layers: as they were exported.
        folder: of the files, on this machine; refused if it is not empty.
        name: of the set (default: the folder's).
        facts: how it was trained.
        start: figures of the dictionary that training started from.

    Raises:
        TranscoderError: the folder is not empty, or what was written cannot be read.

    """
    if config.finish is None:
        write_dictionary(config, layers, folder, name)
        return write_report(measure_dictionary(config, model, tokens, folder, facts, start), folder)
    with TemporaryDirectory(prefix="circuit-sweep-") as scratch:
        write_dictionary(config, layers, Path(scratch, "before"), name or folder.name)
        before = measure_dictionary(config, model, tokens, Path(scratch, "before"), facts, start)
    finished = finish_layers(config, model, tokens, layers)
    write_dictionary(config, finished.layers, folder, name)
    after = measure_dictionary(config, model, tokens, folder, facts, start)
    finish = FinishMetrics(finished.tokens, finished.moved, before.layers, before.model, before.graphs)
    return write_report(replace(after, finish=finish), folder)


def write_report(metrics: DictionaryMetrics, folder: Path) -> DictionaryMetrics:
    """Write `metrics.json`, `training.parquet` and `card.md` beside a dictionary's files."""
    metrics.save(folder / "metrics.json")
    pq.write_table(training_table(metrics), folder / f"{TRAINING.name}.parquet", compression="zstd")
    (folder / "card.md").write_text(card(metrics))
    return metrics
