"""The report on a trained dictionary, from its files: by layer, of the whole model, of its graphs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from pipeline.model import LanguageModel
from pipeline.training.config import DictionaryConfig
from pipeline.training.data import REPORT, ActivationReader, TrainingTokens, padded_passes
from pipeline.training.recipe import Normalisation
from pipeline.training.report.agreement import Agreement, load_against, measure_agreement
from pipeline.training.report.class_features import ClassFeature, class_features
from pipeline.training.report.graph_metrics import GraphMetrics, measure_graphs
from pipeline.training.report.layer_metrics import LayerMetrics, measure_layers
from pipeline.training.report.model_metrics import ModelMetrics, measure_model
from pipeline.training.training_state import TrainingState
from pipeline.training.write import read_dictionary
from pipeline.transcoders import TranscoderLayer, Transcoders, load_transcoders

MODEL_ROWS = 20_000
"""Most held-out tokens on which predictions are compared: each takes a forward pass a layer."""

LONG_SILENCES = {"dead_1m": 1_000_000, "dead_10m": 10_000_000}


@dataclass(frozen=True)
class LayerFacts:
    """What training one layer left behind."""

    layer: int

    tokens: int
    """Tokens that it was trained on: fewer than the others' where it stopped improving before."""

    gamma: float
    """Size of the mean of what features read, over its deviation's."""

    dead_1m: int | None
    """Features without an activation in the last million training tokens; None of shorter trainings."""

    dead_10m: int | None
    """The same of ten million."""


@dataclass(frozen=True)
class TrainingFacts:
    """How a dictionary was made."""

    tokens: int
    """Tokens trained on."""

    seconds: float
    """Wall seconds of all steps, all groups together."""

    tokens_per_second: float
    seed: int

    micro_batch: int | None
    """Tokens of a step that were worked on at once in the end, where the memory was too small for as many as
    were asked for; else None."""

    text_hash: str
    layers: tuple[LayerFacts, ...]
    versions: dict[str, str]

    @classmethod
    def of(cls, states: Sequence[TrainingState], seconds: float) -> TrainingFacts:
        """Gather the facts of a finished training from the states of its groups, or of its shards.

        Args:
            states: one a group, or one a shard of the one group of a cross-layer dictionary.
            seconds: of training.

        """
        config = DictionaryConfig.model_validate(states[0].info["config"])
        tokens = config.batch_size * max(state.info["step"] for state in states)
        piece = min(state.info["micro_batch"] for state in states)
        layers: dict[int, list[TrainingState]] = {}
        for state in states:
            for number in state.info["layers"]:
                layers.setdefault(int(number), []).append(state)
        return cls(
            tokens=tokens,
            seconds=seconds,
            tokens_per_second=tokens / seconds if seconds else float("inf"),
            seed=config.seed,
            micro_batch=None if piece == config.piece else piece,
            text_hash=states[0].info["text_hash"],
            layers=tuple(_layer_facts(config, number, layers[number]) for number in sorted(layers)),
            versions={name: version(name) for name in ("circuit-sweep", "torch", "transformers")},
        )


def _layer_facts(config: DictionaryConfig, number: int, shards: Sequence[TrainingState]) -> LayerFacts:
    tokens = config.batch_size * shards[0].steps_of(number)
    prefix = f"{number}.normalisation."
    tensors = shards[0].tensors
    found = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    silent = torch.cat([shard.tensors[f"{number}.silent"] for shard in shards])
    dead = {
        name: int((silent >= least).sum()) if tokens >= least else None
        for name, least in LONG_SILENCES.items()
    }
    return LayerFacts(number, tokens, Normalisation.of(found).reads.gamma, **dead)


@dataclass(frozen=True)
class FinishMetrics:
    """What training with all MLPs replaced began with, and what it moved."""

    tokens: int
    """Tokens of it."""

    moved: dict[int, float]
    """Share of each layer's features whose encoder or decoder has turned (cosine with before below 0.9)."""

    layers: tuple[LayerMetrics, ...]
    """Each layer's figures before it,"""

    model: ModelMetrics
    """the whole model's,"""

    graphs: GraphMetrics | None
    """and the graphs'."""


@dataclass(frozen=True)
class DictionaryMetrics:
    """Everything that the card says."""

    config: dict[str, Any]
    training: TrainingFacts | None
    held_out_documents: int
    layers: tuple[LayerMetrics, ...]
    model: ModelMetrics
    graphs: GraphMetrics | None
    """None of autoencoders, of some layers alone, and where no held-out prompt is long enough."""

    classes: tuple[ClassFeature, ...] = ()
    """The best feature of each class of documents, where the text has a label."""

    finish: FinishMetrics | None = None
    """What was measured before the finish, where there was one: all other figures are after it."""

    against: Agreement | None = None
    """What another dictionary of the model has too, where one was named."""

    start: tuple[LayerMetrics, ...] | None = None
    """The dictionary that training started from, before it, on the same rows."""

    def save(self, path: Path) -> None:
        """Write `metrics.json`; what is no number there is null."""
        path.write_text(json.dumps(_plain(asdict(self)), indent=1, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def measure_dictionary(
    config: DictionaryConfig,
    model: LanguageModel,
    tokens: TrainingTokens,
    folder: Path,
    training: TrainingFacts | None = None,
    start: Sequence[LayerMetrics] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> DictionaryMetrics:
    """Measure a dictionary as its files have it.

    Args:
        config: of the dictionary.
        model: the model that it is for.
        tokens: of the text; the held-out documents that set no thresholds are measured on.
        folder: the dictionary's files.
        training: how it was made.
        start: figures of the dictionary that training started from.
        advance: called after the layers, after the model, and after each graph.

    Raises:
        TranscoderError: the files cannot be read.

    """
    layers = _on_device(read_dictionary(config, folder), model)
    found, means = _measure_layers(config, model, tokens, layers)
    advance()
    sequences = tokens.held_out.of_documents(*REPORT, min(MODEL_ROWS, config.evaluation))
    of_model = measure_model(model, layers, config.reads, means, sequences)
    advance()
    graphs = None
    if config.kind != "sae" and len(layers) == len(model.layers):
        graphs = measure_graphs(model, load_transcoders(str(folder)), tokens.held_out, config.seed, advance)
    return DictionaryMetrics(
        config=config.model_dump(mode="json"),
        training=training,
        held_out_documents=tokens.description.held_out.documents,
        layers=tuple(found),
        model=of_model,
        graphs=graphs,
        against=_agreement(config, layers),
        classes=tuple(class_features(layers, _reader(config, model, layers), tokens)),
        start=None if start is None else tuple(start),
    )


def _agreement(config: DictionaryConfig, layers: Mapping[int, TranscoderLayer]) -> Agreement | None:
    if config.against is None:
        return None
    return measure_agreement(layers, load_against(config), config.against, config.seed)


def measure_start(
    config: DictionaryConfig, model: LanguageModel, tokens: TrainingTokens, start: Transcoders
) -> list[LayerMetrics]:
    """Measure the dictionary that a training starts from, on its model and text, before any step."""
    layers = dict(enumerate(start.layers[: config.layers]))
    moved = _on_device(layers, model)
    return _measure_layers(config, model, tokens, moved)[0]


def _on_device(layers: dict[int, TranscoderLayer], model: LanguageModel) -> dict[int, TranscoderLayer]:
    return {number: layer.to(model.device, torch.float32) for number, layer in layers.items()}


def _reader(
    config: DictionaryConfig, model: LanguageModel, layers: Mapping[int, TranscoderLayer]
) -> ActivationReader:
    return ActivationReader(model, range(len(layers)), config.reads, config.kind == "sae")


def _measure_layers(
    config: DictionaryConfig,
    model: LanguageModel,
    tokens: TrainingTokens,
    layers: dict[int, TranscoderLayer],
) -> tuple[list[LayerMetrics], dict[int, torch.Tensor]]:
    reader = _reader(config, model, layers)
    sequences = tokens.held_out.of_documents(*REPORT, config.evaluation)
    return measure_layers(layers, reader.passes(padded_passes(model, sequences)))
