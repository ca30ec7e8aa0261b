"""Hook points: where transcoders read and write, in terms of the residual stream.

The names are those of transcoder configurations (TransformerLens); `architectures.py` says which modules
they mean. Reading happens at the input of the MLP's norm, through none, half or all of that norm
(`ln2.hook_normalized` is half of an RMSNorm and all of a LayerNorm, as in TransformerLens); writing
happens where the MLP's output enters the residual stream.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.errors import TranscoderError
from pipeline.model.architectures import Architecture, Norm
from pipeline.model.linear import NormMap
from pipeline.transcoders import READS, WRITES, HookPoint


def hook_modules(architecture: Architecture) -> dict[HookPoint, str]:
    """Return the hook points that an architecture has, each with the side of a layer's module that it is."""
    norm, writer = architecture.mlp_norm, architecture.mlp_output_norm or architecture.mlp
    centred = architecture.norm is Norm.LAYER
    places: dict[HookPoint, str] = {
        "hook_resid_mid": f"input of {norm}",
        "mlp.hook_in": f"output of {norm}",
        "ln2.hook_normalized": f"output of {norm}" if centred else f"{norm}, before its weight",
        "mlp.hook_out": f"output of {writer}",
        "hook_mlp_out": f"output of {writer}",
    }
    if architecture.parallel:
        del places["hook_resid_mid"]
    if architecture.reads_unnormed:
        del places["ln2.hook_normalized"]
    if architecture.mlp_output_norm:
        del places["mlp.hook_out"]
    return places


def check_hooks(architecture: Architecture, reads: HookPoint, writes: HookPoint) -> None:
    """Refuse hook points that this architecture does not have.

    Raises:
        TranscoderError: with the hook points that would do.

    """
    there = hook_modules(architecture)
    readable, writable = ([hook for hook in hooks if hook in there] for hooks in (READS, WRITES))
    if reads not in readable:
        raise TranscoderError(
            f"transcoders read at {reads!r}, which {architecture.name} does not have: "
            f"it reads at {' or '.join(readable)}."
        )
    if writes not in writable:
        raise TranscoderError(
            f"transcoders write at {writes!r}, which {architecture.name} does not have: "
            f"it writes at {' or '.join(writable)}."
        )


def read_inputs(
    hook: HookPoint,
    norm: NormMap,
    norm_input: Float[Tensor, "*rows d"],
    norm_output: Float[Tensor, "*rows d"],
    scale: Float[Tensor, "*rows"] | None = None,
) -> Float[Tensor, "*rows d"]:
    """Return the input of transcoders that read at a hook point.

    Args:
        hook: the point.
        norm: the MLP's norm at that layer.
        norm_input: its input.
        norm_output: its output.
        scale: one over the norm's denominator where it is frozen; by default the input's own.

    """
    if hook == "hook_resid_mid":
        return norm_input
    if hook == "mlp.hook_in" or _is_output(hook, norm):
        return norm_output
    return norm.normalised(norm_input, scale)


def pull_back(
    hook: HookPoint, norm: NormMap, scale: Float[Tensor, " n"], vectors: Float[Tensor, "n d"]
) -> Float[Tensor, "n d"]:
    """Turn vectors that read at a hook point into vectors that read the residual stream.

    Args:
        hook: where the vectors read.
        norm: the MLP's norm at that layer.
        scale: one over that norm's denominator at each vector's position.
        vectors: one vector a row.

    """
    if hook == "hook_resid_mid":
        return vectors
    if hook == "ln2.hook_normalized" and not _is_output(hook, norm):
        norm = NormMap(torch.ones_like(norm.weight), norm.epsilon, norm.centred)
    return norm.transpose(vectors) * scale[:, None]


def push_forward(
    hook: HookPoint, norm: NormMap, scale: Float[Tensor, " T"], stream: Float[Tensor, "*n T d"]
) -> Float[Tensor, "*n T d"]:
    """Turn changes of the residual stream into changes of what is read there: `pull_back` transposed.

    Args:
        hook: where transcoders read.
        norm: the MLP's norm at that layer.
        scale: one over that norm's denominator at each position.
        stream: changes of the residual stream.

    """
    if hook == "hook_resid_mid":
        return stream
    read = norm.normalised(stream, scale)
    return read if hook == "ln2.hook_normalized" and not _is_output(hook, norm) else read * norm.weight


def _is_output(hook: HookPoint, norm: NormMap) -> bool:
    # TransformerLens' `hook_normalized` stands before the weight of an RMSNorm, after weight and bias of a
    # LayerNorm.
    return hook == "ln2.hook_normalized" and norm.centred
