"""Controls of a match that need the model: a random dictionary in B's stead, and the decoders' directions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.builtin import resolve
from pipeline.compare.sweep_pair import PairedSweep
from pipeline.hub import Neurons
from pipeline.sweep_model import recorded_model
from pipeline.transcoders import TopK, TranscoderLayer, Transcoders, load_transcoders

if TYPE_CHECKING:
    from pipeline.model import ReplacementModel


def random_dictionaries(
    sweep: PairedSweep,
    active: pa.Table,
    prompts: Sequence[Sequence[int]],
    observations: Sequence[Int[np.ndarray, " T"]],
) -> tuple[pa.Table, pa.Table]:
    """Return what is active of two random dictionaries, as sparse as the sweep's own.

    Args:
        sweep: a sweep, whose model is run.
        active: what is active of its own dictionary: rows (layer, feature, observation, x).
        prompts: token ids of each prompt.
        observations: number of the observation at each of a prompt's positions; -1 for what is left out.

    Raises:
        ConfigurationError, ModelError, TranscoderError: the model cannot be loaded as the sweep had it.

    """
    model = recorded_model(sweep.output).load(lazy_encoder=True)
    layer = active["layer"].to_numpy()
    positions = sum(int((numbers >= 0)[model.zero_positions :].sum()) for numbers in observations)
    l0 = np.bincount(layer, minlength=model.n_layers) / max(positions, 1)
    sets = (random_like(model.transcoders, l0, seed) for seed in (0, 1))
    one, other = (active_features(replace(model, transcoders=each), prompts, observations) for each in sets)
    return one, other


def with_decoder_cosines(rows: pa.Table, a: PairedSweep, b: PairedSweep) -> pa.Table:
    """Fill in `decoder_cosine` of the rows of `diff_matches`.

    Raises:
        ConfigurationError, ModelError, TranscoderError: a dictionary, or the model whose neurons it is,
            cannot be loaded as the sweep had it.

    """
    decoders = [_decoder_rows(_dictionary(sweep), rows, side) for sweep, side in ((a, "a"), (b, "b"))]
    cosine = torch.nn.functional.cosine_similarity(*decoders).double().numpy()
    index = rows.column_names.index("decoder_cosine")
    return rows.set_column(index, rows.schema.field(index), pa.array(cosine))


def _dictionary(sweep: PairedSweep) -> Transcoders:
    recorded = recorded_model(sweep.output)
    pinned = recorded.transcoders
    if Neurons.named(pinned.name) is not None:
        return recorded.load("cpu").transcoders  # they lie in no file but the model's own
    return load_transcoders(resolve(pinned.name, "transcoders"), True, pinned.listed_commits)


def _decoder_rows(transcoders: Transcoders, rows: pa.Table, side: str) -> Float[Tensor, "n d"]:
    """Return what one side's feature of each row writes at its own layer."""
    layer, feature = (torch.tensor(rows[f"{name}_{side}"].to_numpy()).long() for name in ("layer", "feature"))
    found = torch.zeros(len(layer), transcoders.d_model)
    for index, of_layer in enumerate(transcoders.layers):
        here = layer == index
        # Files are read front to back: rows in ascending order, each once.
        wanted, place = feature[here].unique(return_inverse=True)
        found[here] = of_layer.decoder_rows(wanted, 0).float()[place]
    return found


def random_like(transcoders: Transcoders, l0: Sequence[float], seed: int = 0) -> Transcoders:
    """Return transcoders of the same sizes with random encoders, of which the top few are active.

    Args:
        transcoders: those to copy the sizes of.
        l0: mean number of active features a position, for each layer.
        seed: of the random encoders.

    """
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for layer, active in zip(transcoders.layers, l0, strict=True):
        like = layer.encoder_bias
        F, d = layer.encoder.shape
        encoder = torch.randn(F, d, generator=generator).to(like)
        k = min(max(1, round(active)), F)
        # A layer of its own kind: neurons would go on answering with the activations of the MLP.
        layers.append(
            TranscoderLayer(
                encoder=encoder,
                encoder_bias=torch.zeros_like(like),
                decoder=encoder.new_zeros(1, 1, d).expand(F, 1, d),
                decoder_bias=layer.decoder_bias,
                # Half of what random directions read is negative, so that more must count it, as neurons do.
                activation=TopK(k, rectified=2 * k <= F),
            )
        )
    return replace(transcoders, layers=tuple(layers), name="random")


def active_features(
    model: ReplacementModel, prompts: Iterable[Sequence[int]], observations: Iterable[Sequence[int]]
) -> pa.Table:
    """Return what is active on prompts: rows (layer, feature, observation, x).

    Args:
        model: with the dictionary that encodes.
        prompts: token ids of each, as they were traced.
        observations: number of the observation at each position; -1 for what is counted elsewhere.

    """
    parts = []
    for tokens, numbers in zip(prompts, observations, strict=True):
        frozen = model.freeze(torch.tensor(tokens, device=model.device))
        number = np.asarray(numbers)
        for index, layer in enumerate(frozen.layers):
            position, feature = layer.features.cpu().numpy().T
            taken = number[position] >= 0
            parts.append(
                pa.table(
                    {
                        "layer": np.full(taken.sum(), index),
                        "feature": feature[taken],
                        "observation": number[position[taken]],
                        "x": layer.activations.double().cpu().numpy()[taken],
                    }
                )
            )
    return pa.concat_tables(parts)
