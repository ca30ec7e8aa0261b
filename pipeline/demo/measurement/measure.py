"""Measure a folder of built-in files as they ship: everything on the card is read from the files first."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch

from pipeline.demo.corpus import Vocabulary, build_vocabulary
from pipeline.demo.measurement.activations import mlp_activations
from pipeline.demo.measurement.evaluate import (
    LayerQuality,
    accuracy_by_family,
    encode_prompts,
    layer_quality,
    right,
)
from pipeline.demo.measurement.selectivity import StateFeature, state_features
from pipeline.demo.prompts import SHOWN_STATE, WORD_FAMILIES, Example, read_prompts
from pipeline.model import LanguageModel
from pipeline.training import replaced_mlps
from pipeline.transcoders import Transcoders, load_transcoders


@dataclass(frozen=True)
class GraphScores:
    """Medians over the built-in prompts of one family, whole graphs."""

    prompts: int

    replacement: float
    """Share of the influence from tokens and errors that comes from tokens."""

    completeness: float
    """Share of the influence that does not pass through errors."""

    active_features: float
    """Active features of a graph."""

    targets: float
    """Mean number of targets of a graph."""


@dataclass(frozen=True)
class Measurements:
    """Figures that the card reports."""

    parameters: int
    """Parameters of the model."""

    vocabulary: int
    """Words of the language, special tokens counted."""

    facts: int
    """Fixed prompts about states and countries that were asked, held-out ones counted."""

    accuracy: dict[str, dict[str, float]]
    """Share of right answers by family and side of the split."""

    accuracy_replaced: dict[str, dict[str, float]]
    """The same with all MLPs replaced by their dictionaries."""

    layers: list[LayerQuality]
    """Quality of each layer's dictionary, on the same prompts."""

    graphs: dict[str, GraphScores] = field(default_factory=dict)
    """Scores of the built-in prompts' graphs by family, and of all under `all`."""

    states_with_features: list[int] = field(default_factory=list)
    """For each layer, how many of the fifty states have a feature of their own."""

    shown_features: list[StateFeature] = field(default_factory=list)
    """The features that are selective for Texas."""


@dataclass(frozen=True)
class Files:
    """A folder of built-in files, loaded."""

    model: LanguageModel
    """The model, in float32."""

    transcoders: Transcoders
    """Its transcoders, in float32."""

    vocabulary: Vocabulary
    """The language."""

    prompts: list[Example]
    """The built-in prompts."""


def load_files(folder: Path) -> Files:
    """Load a folder of built-in files."""
    return Files(
        LanguageModel.load(str(folder / "model"), "cpu"),
        load_transcoders(str(folder / "transcoders")).to("cpu", torch.float32),
        build_vocabulary(),
        read_prompts(folder / "prompts.parquet"),
    )


def measure(files: Files, examples: Sequence[Example]) -> Measurements:
    """Measure accuracy, dictionaries and selective features on prompts; graphs come from `trace`."""
    model, vocabulary = files.model.model, files.vocabulary
    dictionary = dict(enumerate(files.transcoders.layers))
    with replaced_mlps(files.model, dictionary, files.transcoders.input_hook, dictionary):
        replaced = right(model, vocabulary, examples)
    activations = mlp_activations(model, encode_prompts(vocabulary, examples))
    layers = enumerate(zip(files.transcoders.layers, activations, strict=True))
    features = state_features(model, vocabulary, files.transcoders)
    n_layers = files.transcoders.n_layers
    states = [{x.state for x in features if x.layer == layer} for layer in range(n_layers)]
    return Measurements(
        parameters=model.num_parameters(),
        vocabulary=len(vocabulary),
        facts=sum(example.family not in WORD_FAMILIES for example in examples),
        accuracy=accuracy_by_family(examples, right(model, vocabulary, examples)),
        accuracy_replaced=accuracy_by_family(examples, replaced),
        layers=[layer_quality(layer, *pair) for layer, pair in layers],
        states_with_features=[len(found) for found in states],
        shown_features=[x for x in features if x.state == SHOWN_STATE],
    )


def trace(
    folder: Path, prompts: Sequence[Example], advance: Callable[[], None] = lambda: None
) -> dict[str, GraphScores]:
    """Trace prompts and return their graphs' scores by family; `advance` is called once a prompt."""
    from pipeline import ReplacementModel, attribute

    model = ReplacementModel.from_pretrained(
        str(folder / "model"), transcoders=str(folder / "transcoders"), device="cpu"
    )
    rows: dict[str, list[tuple[float, float, int, int]]] = defaultdict(list)
    for prompt in prompts:
        graph = attribute(model, prompt.text)
        row = (*graph.scores(), len(graph.active_features), len(graph.targets))
        rows[prompt.family].append(row)
        rows["all"].append(row)
        advance()
    return {family: _medians(found) for family, found in sorted(rows.items())}


def _medians(rows: Sequence[tuple[float, float, int, int]]) -> GraphScores:
    replacement, completeness, active, targets = zip(*rows, strict=True)
    mean_targets = sum(targets) / len(targets)
    return GraphScores(len(rows), median(replacement), median(completeness), median(active), mean_targets)
