"""A dictionary to start from: read in any format, checked, and taken back to normalised inputs and outputs.

What a training with few tokens needs: a fine-tuned model's dictionary is near its base model's.
"""

from __future__ import annotations

import torch

from pipeline.builtin import resolve
from pipeline.errors import ConfigurationError
from pipeline.model import LanguageModel, check_fit
from pipeline.training.config import DictionaryConfig
from pipeline.training.recipe import LayerWeights, Normalisation, writes_of
from pipeline.transcoders import JumpReLU, ReLU, TopK, TranscoderLayer, Transcoders, load_transcoders

LEAST_THRESHOLD = 1e-4
"""Of JumpReLU in training, whose thresholds are exponentials."""


def load_start(config: DictionaryConfig, model: LanguageModel) -> Transcoders:
    """Load the dictionary that a training starts from.

    Raises:
        ConfigurationError: it differs from the one that is to be trained, with the key to change.
        TranscoderError: it cannot be read, or is for another model.

    """
    if config.kind == "sae":
        raise ConfigurationError("start is a dictionary, but kind is sae: only transcoders can be read.")
    start = load_transcoders(resolve(config.start, "transcoders"))
    check_fit(model.model.config, model.architecture, start)
    if start.input_hook != config.reads:
        raise ConfigurationError(
            f"start reads at {start.input_hook!r}, and the dictionary at {config.reads!r}: write "
            f"`hook: {start.input_hook}`."
        )
    for number, layer in enumerate(start.layers):
        _check_layer(config, number, start.n_layers, layer)
    return start


def _check_layer(config: DictionaryConfig, number: int, n_layers: int, layer: TranscoderLayer) -> None:
    if layer.n_features != config.features:
        raise ConfigurationError(
            f"start has {layer.n_features:,} features in layer {number}, and features is "
            f"{config.features:,}: write `features: {layer.n_features}`."
        )
    writes = writes_of(config, number, n_layers)
    if layer.decoder.shape[1] != writes:
        raise ConfigurationError(
            f"start's features of layer {number} write to {layer.decoder.shape[1]} layers, and those of a "
            f"{config.kind} to {writes}: change kind or cross_layer."
        )
    if layer.skip is not None and config.kind != "skip":
        raise ConfigurationError(f"start has a skip path in layer {number}: write `kind: skip`.")
    if not isinstance(layer.activation, ReLU | JumpReLU | TopK):
        raise ConfigurationError(
            f"start weighs or moves the activations of layer {number}, which training does not: name another."
        )


def unfold(
    config: DictionaryConfig,
    start: Transcoders,
    number: int,
    features: range,
    normalisations: dict[int, Normalisation],
) -> LayerWeights:
    """Return one layer of a dictionary on normalised inputs and outputs.

    Args:
        config: of the dictionary that is trained.
        start: the dictionary that is read.
        number: of the layer.
        features: those of this process.
        normalisations: of the layers that it writes to.

    """
    layer = start.layers[number]
    reads, writes = normalisations[number].reads, normalisations[number].writes
    chosen = torch.arange(features.start, features.stop)
    encoder = layer.encoder[chosen].double()
    bias = layer.decoder_bias.double()
    skip = torch.zeros(2 * [len(reads.mean)], dtype=torch.float64) if config.kind == "skip" else None
    if layer.skip is not None:
        skip = layer.skip.double()
        bias = bias + reads.mean @ skip
        skip = skip * (reads.scale / writes.scale)
    decoders = [
        layer.decoder_rows(chosen, above).double() / normalisations[number + above].writes.scale
        for above in range(layer.decoder.shape[1])
    ]
    return LayerWeights(
        encoder=(encoder * reads.scale).float(),
        encoder_bias=(layer.encoder_bias.double()[chosen] + encoder @ reads.mean).float(),
        decoders=tuple(decoder.float() for decoder in decoders),
        decoder_bias=(bias / writes.scale).float(),
        skip=None if skip is None else skip.float(),
        log_threshold=_log_threshold(layer, chosen) if config.activation == "jumprelu" else None,
    )


def _log_threshold(layer: TranscoderLayer, chosen: torch.Tensor) -> torch.Tensor:
    thresholds = torch.zeros(len(chosen))
    if isinstance(layer.activation, JumpReLU):
        thresholds = layer.activation.threshold[chosen].float()
    return thresholds.clamp(min=LEAST_THRESHOLD).log()
