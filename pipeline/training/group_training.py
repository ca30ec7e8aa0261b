"""A group of layers in training on a model's activations: the trainer with its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from pipeline.errors import ConfigurationError, TrainingError
from pipeline.hub import pin
from pipeline.model import LanguageModel
from pipeline.training.config import DictionaryConfig
from pipeline.training.data import (
    CALIBRATION,
    ActivationReader,
    Rows,
    TrainingOrder,
    TrainingRows,
    TrainingTokens,
    padded_passes,
)
from pipeline.training.feature_shard import WHOLE, FeatureShard
from pipeline.training.layer_group import LayerGroup
from pipeline.training.recipe import Normalisation, NormalisationSums
from pipeline.training.step_report import StepReport
from pipeline.training.training_state import TrainingState
from pipeline.training.warm_start import unfold
from pipeline.transcoders import Transcoders

WATCHED_ROWS = 8_192
"""Held-out rows on which it is seen that a layer has stopped improving."""

NORMALISATION_ROWS = 200_000
"""Rows, the first in the order of training, that scales and means are measured on."""


def load_language_model(config: DictionaryConfig) -> LanguageModel:
    """Load the model that a dictionary is for.

    Raises:
        ConfigurationError: it does not have the layers.
        ModelError: it cannot be loaded, or its architecture is not supported.

    """
    dtype = getattr(torch, config.model_dtype)
    model = LanguageModel.load(config.model, config.device, dtype, config.trust_remote_code)
    if config.layers is not None and config.layers > len(model.layers):
        raise ConfigurationError(
            f"layers is {config.layers}, but {config.model} has {len(model.layers)}: leave it out."
        )
    return model


def layers_of(config: DictionaryConfig, n_layers: int) -> range:
    """Return the layers that are trained."""
    return range(config.layers or n_layers)


def reader_of(
    config: DictionaryConfig, model: LanguageModel, layers: range, shard: FeatureShard = WHOLE
) -> ActivationReader:
    """Return what reads a dictionary's rows off its model."""
    return ActivationReader(model, layers, config.reads, config.kind == "sae", shard)


@dataclass
class GroupTraining:
    """A group of layers, its rows, and where they come from."""

    group: LayerGroup
    rows: TrainingRows
    tokens: TrainingTokens
    model_content: Mapping[str, str]
    """A hash of the model's files, or its repository with the commit."""

    @classmethod
    def begin(
        cls,
        config: DictionaryConfig,
        model: LanguageModel,
        tokens: TrainingTokens,
        layers: range,
        shard: FeatureShard = WHOLE,
        start: Transcoders | None = None,
    ) -> GroupTraining:
        """Begin a training: measure scales and means, and draw or take the first weights.

        Args:
            config: of the dictionary.
            model: the model that it is for.
            tokens: of the text.
            layers: of the group.
            shard: this process among those that share the features.
            start: dictionary to start from; see `load_start`.

        Raises:
            ConfigurationError: the text is too short, or a layer's activations do not vary.

        """
        rows = _training_rows(config, model, tokens, layers, shard)
        normalisations = measure_normalisations(rows)
        features, weights = shard.features(config.features), None
        if start is not None:
            weights = {number: unfold(config, start, number, features, normalisations) for number in layers}
        group = LayerGroup.begin(config, len(model.layers), normalisations, shard, weights, model.device)
        return cls(group, rows, tokens, pin(config.model, "model").fingerprint)

    @classmethod
    def resume(
        cls,
        config: DictionaryConfig,
        model: LanguageModel,
        tokens: TrainingTokens,
        state: TrainingState,
        shard: FeatureShard = WHOLE,
    ) -> GroupTraining:
        """Go on with a training.

        Raises:
            TrainingError: the state is of another training, text or model, with the difference.

        """
        if state.info["text_hash"] != tokens.description.hash:
            raise TrainingError(
                f"the training in progress is on text of hash {state.info['text_hash']}, and this text has "
                f"{tokens.description.hash}: put the old text back, or name another output."
            )
        content = pin(config.model, "model").fingerprint
        if state.info["model_content"] != content:
            raise TrainingError(
                f"the training in progress is of a model with {state.info['model_content']}, and "
                f"{config.model} has {content}: put the old model back, or name another output."
            )
        group = LayerGroup.resume(config, state, shard, model.device)
        layers = range(min(group.layers), max(group.layers) + 1)
        return cls(group, _training_rows(config, model, tokens, layers, shard), tokens, content)

    @property
    def done(self) -> bool:
        """True after the last step."""
        return self.group.done

    def step(self) -> StepReport:
        """Train for one step.

        Raises:
            TrainingError: a loss is not a number, or far from its mean; nothing was changed.

        """
        step = self.group.step_number
        try:
            report = self.group.step(self.rows.step(step))
            if self.group.is_watched:
                self.group.watch(self._held_out(WATCHED_ROWS))
            return report
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"the device's memory is too small for step {step}: start again on a larger device, from the "
                "last state that was saved; or lower batch, buffer or features, or train fewer layers "
                "together (groups), in another output."
            ) from error
        except TrainingError as error:
            buffer, place = self.rows.order.locate(step)
            first = self.rows.order.sequences_of(buffer)[:3].tolist()
            raise TrainingError(
                f"{error} The batch is number {place} of buffer {buffer}, which begins with sequences "
                f"{first} of {self.tokens.folder}."
            ) from error

    def calibration(self) -> Iterator[Rows]:
        """Yield the held-out rows on which thresholds are set."""
        return self._held_out(max(1, self.group.config.evaluation // 4))

    def _held_out(self, rows: int) -> Iterator[Rows]:
        """Yield about so many rows of the documents that the report is not on."""
        sequences = self.tokens.held_out.of_documents(*CALIBRATION, rows)
        yield from self.rows.reader.passes(padded_passes(self.rows.reader.model, sequences))

    def state(self) -> TrainingState:
        """Return all that is needed to go on."""
        state = self.group.state()
        known = {"text_hash": self.tokens.description.hash, "model_content": dict(self.model_content)}
        return replace(state, info=state.info | known)


def _training_rows(
    config: DictionaryConfig,
    model: LanguageModel,
    tokens: TrainingTokens,
    layers: range,
    shard: FeatureShard,
) -> TrainingRows:
    order = TrainingOrder(tokens.train.rows, config.batch_size, config.buffer, config.seed)
    return TrainingRows(reader_of(config, model, layers, shard), tokens.train, order)


def measure_normalisations(rows: TrainingRows) -> dict[int, Normalisation]:
    """Return each layer's normalisation, from the first rows of the order.

    Raises:
        ConfigurationError: a layer's activations do not vary.

    """
    sequences = rows.tokens.sequences(rows.order.first_sequences(NORMALISATION_ROWS))
    sums = {layer: NormalisationSums(rows.reader.model.d_model) for layer in rows.reader.layers}
    for part in rows.reader.passes(padded_passes(rows.reader.model, sequences)):
        for layer, of_layer in part.items():
            sums[layer].add(of_layer.inputs, of_layer.outputs)
    return {layer: found.normalisation(layer) for layer, found in sums.items()}
