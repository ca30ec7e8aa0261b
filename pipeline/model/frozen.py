"""One prompt's local replacement model: linear in the residual stream.

Legend: T positions, d model width, L layers, H heads, K key/value heads, h head width, n features.
Attention patterns, norm denominators and MLP outputs are frozen at their values on the prompt. Each MLP
output is written as features plus an error that makes the replacement exact on this prompt
("Circuit Tracing", Transformer Circuits, 2025).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.model.architectures import Architecture
from pipeline.model.hooks import pull_back, push_forward, read_inputs
from pipeline.model.linear import LayerMap, NormMap
from pipeline.model.reconstruction import check_finite, explain_outputs
from pipeline.model.recording import Recording, Site, record
from pipeline.transcoders import Transcoders

SITES: tuple[Site, ...] = (
    "embedding.output",
    "attention_norm.input",
    "attention.pattern",
    "value_norm.input",
    "attention_output_norm.input",
    "mlp_norm.input",
    "mlp_norm.output",
    "mlp.output",
    "token_writer.output",
    "final_norm.input",
    "final_norm.output",
)
"""Sites of the forward pass that freezing a prompt reads."""

LAST = torch.tensor([-1])
"""The last position as `logits_to_keep`. As the number 1 it would also let models whose upper layers take the
values of lower ones (Gemma 4) leave out all other positions there."""


@dataclass(frozen=True)
class FrozenLayer:
    """Frozen values of one layer, on the layer's device."""

    maps: LayerMap
    """The layer's linear maps."""

    pattern: Float[Tensor, "H T T"]
    """Attention pattern, query by key, with the scales of the norms around the attention multiplied in."""

    read_scale: Float[Tensor, " T"]
    """One over the denominator of the MLP's norm."""

    features: Int[Tensor, "n 2"]
    """(position, feature) of each active feature that reads here, sorted."""

    activations: Float[Tensor, " n"]
    """Their activations."""

    error: Float[Tensor, "T d"]
    """MLP output that the transcoder does not reconstruct."""

    read: Float[Tensor, "T d"]
    """What the transcoder reads."""

    output_norms: Float[Tensor, " T"]
    """Euclidean norm of the MLP's output."""

    cosines: Float[Tensor, " T"]
    """Cosine between the MLP's output and its reconstruction; 0 where one of them is 0."""

    token_write: Float[Tensor, "T d"] | None = None
    """Written at this layer by the token itself (Gemma 4)."""


@dataclass(frozen=True)
class FrozenModel:
    """A prompt's local replacement model. What belongs to no layer lies at the model's home."""

    tokens: Float[Tensor, "T d"]
    """Token vectors as they enter the residual stream."""

    layers: tuple[FrozenLayer, ...]
    """From the first layer."""

    final_norm: NormMap
    """Norm in front of the unembedding."""

    final_scale: Float[Tensor, " T"]
    """One over that norm's denominator."""

    final_output: Float[Tensor, "T d"]
    """Output of that norm."""

    logits: Float[Tensor, " V"]
    """Real logits at the last position."""

    transcoders: Transcoders
    """The transcoders whose features these are."""

    parallel: bool
    """Features read before the layer's attention has written (GPT-NeoX)."""

    zero_positions: int
    """First positions that carry no features and no errors."""

    @property
    def n_positions(self) -> int:
        """Positions of the prompt, T."""
        return self.tokens.shape[0]

    def up_to(self, position: int, logits: Float[Tensor, " V"]) -> FrozenModel:
        """Return the replacement model of the text that ends at a position: views of this one's values.

        With causal attention nothing flows back, so they are what the cut text alone would give.

        Args:
            position: last position that is kept.
            logits: real logits there.

        Raises:
            PromptError: a logit is not a number.

        """
        check_finite(logits, "a logit", len(self.layers))
        end = position + 1
        return replace(
            self,
            tokens=self.tokens[:end],
            layers=tuple(_layer_up_to(layer, end) for layer in self.layers),
            final_scale=self.final_scale[:end],
            final_output=self.final_output[:end],
            logits=logits,
        )

    def active_features(self) -> Int[Tensor, "n 3"]:
        """Return (layer, position, feature) of every active feature, sorted."""
        rows = [
            torch.cat((torch.full_like(layer.features[:, :1], index), layer.features), dim=1)
            for index, layer in enumerate(self.layers)
        ]
        return torch.cat([row.to(self.tokens.device) for row in rows])

    def reading_vectors(self, layer: int, which: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the directions of the residual stream that a layer's active features read.

        Args:
            layer: the layer.
            which: indices into that layer's active features.

        """
        frozen = self.layers[layer]
        positions, features = frozen.features[which.to(frozen.features.device)].unbind(1)
        encoder = self.transcoders.layers[layer].encoder[features]
        return self.read_back(layer, positions, encoder)

    def read_back(
        self, layer: int, positions: Int[Tensor, " n"], vectors: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n d"]:
        """Pull vectors at a layer's read point back to the residual stream."""
        frozen = self.layers[layer]
        return pull_back(
            self.transcoders.input_hook, frozen.maps.mlp_norm, frozen.read_scale[positions], vectors
        )

    def push(self, layer: int, stream: Float[Tensor, "*n T d"]) -> Float[Tensor, "*n T d"]:
        """Push changes of the residual stream forward to a layer's read point, norms frozen."""
        frozen = self.layers[layer]
        return push_forward(self.transcoders.input_hook, frozen.maps.mlp_norm, frozen.read_scale, stream)


def _layer_up_to(layer: FrozenLayer, end: int) -> FrozenLayer:
    features = int(torch.searchsorted(layer.features[:, 0].contiguous(), end))
    return replace(
        layer,
        pattern=layer.pattern[:, :end, :end],
        read_scale=layer.read_scale[:end],
        features=layer.features[:features],
        activations=layer.activations[:features],
        error=layer.error[:end],
        read=layer.read[:end],
        output_norms=layer.output_norms[:end],
        cosines=layer.cosines[:end],
        token_write=None if layer.token_write is None else layer.token_write[:end],
    )


@torch.inference_mode()
def freeze(
    model: nn.Module,
    architecture: Architecture,
    input_tokens: Int[Tensor, " T"],
    maps: tuple[LayerMap, ...],
    final_norm: NormMap,
    transcoders: Transcoders,
    zero_positions: int,
) -> FrozenModel:
    """Run the model on one prompt and build its local replacement model.

    Args:
        model: the Hugging Face model.
        architecture: module names of the model.
        input_tokens: the prompt.
        maps: the model's linear maps, one a layer.
        final_norm: the norm in front of the unembedding.
        transcoders: stand in for the MLPs.
        zero_positions: first positions that carry no features and no errors.

    Raises:
        PromptError: an activation, an MLP output or a logit is not a number.

    """
    with record(model, architecture, SITES) as recorded:
        logits = model(input_ids=input_tokens[None], use_cache=False, logits_to_keep=LAST).logits[0, -1]
    prompt = {site: values[0] for site, values in recorded.items()}
    layers = tuple(_freeze_layers(prompt, maps, transcoders, zero_positions))
    check_finite(logits, "a logit", len(maps))
    return FrozenModel(
        tokens=prompt["embedding.output"],
        layers=layers,
        final_norm=final_norm,
        final_scale=final_norm.scale(prompt["final_norm.input"]),
        final_output=prompt["final_norm.output"],
        logits=logits,
        transcoders=transcoders,
        parallel=architecture.parallel,
        zero_positions=zero_positions,
    )


def _freeze_layers(
    prompt: Recording, maps: tuple[LayerMap, ...], transcoders: Transcoders, zero_positions: int
) -> Iterator[FrozenLayer]:
    inputs = [
        read_inputs(
            transcoders.input_hook,
            layer.mlp_norm,
            prompt["mlp_norm.input", index],
            prompt["mlp_norm.output", index],
        )
        for index, layer in enumerate(maps)
    ]
    outputs = [prompt["mlp.output", index] for index in range(len(maps))]
    explained = explain_outputs(transcoders, inputs, outputs, zero_positions)
    for index, (layer, (features, activations, error)) in enumerate(zip(maps, explained, strict=True)):
        scale = layer.mlp_norm.scale(prompt["mlp_norm.input", index])
        output = outputs[index].float()
        yield FrozenLayer(
            maps=layer,
            pattern=_scaled_pattern(prompt, maps, index),
            read_scale=scale,
            features=features,
            activations=activations,
            error=error,
            read=inputs[index],
            output_norms=output.norm(dim=1),
            cosines=torch.cosine_similarity(output, output - error.float(), dim=1),
            token_write=prompt.get(("token_writer.output", index)),
        )


def _scaled_pattern(prompt: Recording, maps: tuple[LayerMap, ...], index: int) -> Float[Tensor, "H T T"]:
    # In place: the patterns of a long prompt are the largest thing it has.
    layer, pattern = maps[index], prompt["attention.pattern", index]
    source, device = layer.value_layer, pattern.device
    read_scale = maps[source].attention_norm.scale(prompt["attention_norm.input", source])
    pattern.mul_(read_scale.to(device))
    if maps[source].value_norm is not None:
        value_scale = maps[source].value_norm.scale(prompt["value_norm.input", source]).T[:, None].to(device)
        pattern.unflatten(0, (len(value_scale), -1)).mul_(value_scale[:, None])
    if layer.attention_output_norm is not None:
        written_scale = layer.attention_output_norm.scale(prompt["attention_output_norm.input", index])
        pattern.mul_(written_scale[:, None])
    return pattern
