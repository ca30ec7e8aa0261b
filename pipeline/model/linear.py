"""The linear maps that remain when a prompt's patterns and norm scales are frozen.

Legend: T positions, d model width, H heads, K key/value heads, h head width.
Everything here is a property of the model alone. Norm weights are folded into the attention's
matrices once, so that per prompt only a scale per position is left, and that goes into the pattern:

    transpose of the attention branch = W_V'^T  P'^T  W_O'^T
    W_O' = diag(w_out) W_O      W_V' = W_V diag(w_in) [centring]
    P'[t,s] = P[t,s] / (norm_out[t] norm_in[s])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.model.architectures import Architecture, Norm, optional_module
from pipeline.model.unnormed import NoNorm


@dataclass(frozen=True)
class NormMap:
    """A norm with its scale taken out: `y = centre(x) * scale[t] * weight (+ bias)`."""

    weight: Float[Tensor, " d"]
    """Gain, with Gemma's one added."""

    epsilon: float
    """Added under the root."""

    centred: bool
    """True where the mean over the width is subtracted first."""

    is_identity: bool = False
    """There is no norm: what is read is the residual stream itself."""

    def scale(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
        """Return one over the norm's denominator for each row."""
        if self.is_identity:
            return torch.ones_like(x[..., 0], dtype=self.weight.dtype)
        # As Hugging Face's norms do it: a sum of squares overflows in float16.
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        return torch.rsqrt(x.pow(2).mean(-1) + self.epsilon).to(self.weight.dtype)

    def normalised(
        self, x: Float[Tensor, "*rows d"], scale: Float[Tensor, "*rows"] | None = None
    ) -> Float[Tensor, "*rows d"]:
        """Return the input over the denominator, before the weight.

        Args:
            x: the input.
            scale: one over the denominator where it is frozen; by default the input's own.

        """
        centred = x - x.mean(-1, keepdim=True) if self.centred else x
        return centred * (self.scale(x) if scale is None else scale)[..., None]

    def transpose(self, gradient: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Pull gradients at the output back to the input, but for the scale."""
        gradient = gradient * self.weight
        return gradient - gradient.mean(-1, keepdim=True) if self.centred else gradient


def norm_map(module: nn.Module, kind: Norm) -> NormMap:
    """Describe a Hugging Face norm module."""
    if isinstance(module, NoNorm):
        return NormMap(module.weight, epsilon=0.0, centred=False, is_identity=True)
    epsilon = getattr(module, "variance_epsilon", None)
    epsilon = module.eps if epsilon is None else epsilon
    weight = module.weight.detach()
    return NormMap(weight + 1 if kind is Norm.RMS_PLUS_ONE else weight, float(epsilon), kind is Norm.LAYER)


@dataclass(frozen=True)
class AttentionMap:
    """Value and output weights of one layer's attention, with the norms around them folded in."""

    value: Float[Tensor, "Kh d"]
    """`W_V'`: residual stream, normalised but unscaled, to values; without rows where another layer's are
    taken."""

    output: Float[Tensor, "d Hh"]
    """`W_O'`: mixed values to the residual stream, unscaled where a norm follows."""


@dataclass(frozen=True)
class LayerMap:
    """One layer's linear maps."""

    attention: AttentionMap
    attention_norm: NormMap
    attention_output_norm: NormMap | None
    mlp_norm: NormMap
    value_layer: int
    """Layer whose residual stream the attention takes its values from: itself, or one below (Gemma 4)."""
    value_norm: NormMap | None
    """Norm of each head's values, without a weight."""
    scalar: float
    """The residual stream is multiplied by it at the layer's end."""


def layer_maps(stack: Sequence[nn.Module], architecture: Architecture, n_heads: int) -> tuple[LayerMap, ...]:
    """Fold Hugging Face decoder layers into their linear maps."""
    return tuple(_layer_map(stack, index, architecture, n_heads) for index in range(len(stack)))


def _layer_map(stack: Sequence[nn.Module], index: int, architecture: Architecture, n_heads: int) -> LayerMap:
    layer = stack[index]
    attention_norm = norm_map(layer.get_submodule(architecture.attention_norm), architecture.norm)
    output_norm = None
    if architecture.attention_output_norm:
        output_norm = norm_map(layer.get_submodule(architecture.attention_output_norm), architecture.norm)
    value, output = architecture.projections(layer.get_submodule(architecture.attention), n_heads)
    output = output.detach()
    if output_norm is not None:
        output = output * output_norm.weight[:, None]
    attention = AttentionMap(
        attention_norm.transpose(value.detach()).contiguous(),
        output.contiguous(),
    )
    mlp_norm = norm_map(layer.get_submodule(architecture.mlp_norm), architecture.norm)
    value_norm = optional_module(layer, architecture.value_norm)
    return LayerMap(
        attention,
        attention_norm,
        output_norm,
        mlp_norm,
        value_layer=_value_layer(stack, index, architecture),
        value_norm=None
        if value_norm is None
        else NormMap(output.new_ones(()), float(value_norm.eps), centred=False),
        scalar=1.0 if architecture.scalar is None else float(getattr(layer, architecture.scalar)),
    )


def _value_layer(stack: Sequence[nn.Module], index: int, architecture: Architecture) -> int:
    kinds = [layer.get_submodule(architecture.attention) for layer in stack]
    if not getattr(kinds[index], "is_kv_shared_layer", False):
        return index
    # As transformers has it: the last layer of the same kind that computes its own.
    return max(
        number
        for number, kind in enumerate(kinds[:index])
        if not kind.is_kv_shared_layer and kind.layer_type == kinds[index].layer_type
    )
