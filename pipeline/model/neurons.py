"""A model's own MLP neurons as features, so that any supported model can be traced without a dictionary.

A neuron reads its row of the up projection and writes its column of the down projection, with its activation
as the factor. Where the MLP is `W_down relu(W_up x)` that is a transcoder, exact everywhere. Elsewhere the
neuron's factor is held, as patterns and norm scales are: in `W_down (act(W_gate x) * W_up x)` the gate
`act(W_gate x)`, in `W_down act(W_up x)` the ratio of activation to pre-activation, in a mixture of experts
the router's weight too, and behind a norm on the way out (Gemma 2) that norm's scale. So a feature's row
explains `W_up x`, and what it writes is exact on the prompt; through the gate itself no edge runs.

What is no sum of neurons is in the error: biases that experts add by the router's weight (gpt-oss), and with
`neurons:K` all but the K of a position that write most.

Legend: T positions, d model width, F neurons of a layer, E experts, I neurons of one expert.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.hub import Neurons
from pipeline.model.architectures import Architecture
from pipeline.model.linear import NormMap, norm_map
from pipeline.transcoders import ReLU, TranscoderLayer, Transcoders

Factor = Callable[[Float[Tensor, "T d"], Float[Tensor, "T F"]], Float[Tensor, "T F"]]
"""Function from an MLP's input and its neurons' pre-activations to their activations."""


@dataclass(frozen=True)
class MlpNeurons:
    """One MLP as neurons."""

    up: Float[Tensor, "F d"]
    up_bias: Float[Tensor, " F"] | None
    down: Float[Tensor, "F d"]
    """Written by each neuron for an activation of 1."""

    down_bias: Float[Tensor, " d"] | None
    activations: Factor


@dataclass(frozen=True)
class NeuronLayer(TranscoderLayer):
    """The neurons of one layer. Each is a feature; its activation comes from the MLP's own weights."""

    neurons: MlpNeurons | None = None
    output_norm: NormMap | None = None
    """Norm between the MLP and the residual stream; its gain is in the decoder, its scale in activations."""

    strongest: int | None = None
    """Neurons of a position that are active; None for all."""

    @property
    def ranks(self) -> bool:
        """Activations depend on more than their own pre-activation."""
        return True

    @property
    def n_resident(self) -> int:
        """Numbers beside the model's own weights, which these are."""
        return 0

    def encode(self, inputs: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows F"]:
        """Return the activation of every neuron for each row."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        values = self.neurons.activations(rows, self.preactivations(rows))
        if self.output_norm is not None:
            values = values * self.output_norm.scale(self._written(values))[:, None]
        if self.strongest is not None and self.strongest < values.shape[1]:
            written = values.abs() * self.decoder[:, 0].norm(dim=-1)
            least = written.topk(self.strongest, dim=-1).indices
            values = torch.zeros_like(values).scatter_(-1, least, values.gather(-1, least))
        return values.view(*inputs.shape[:-1], -1)

    def _written(self, values: Float[Tensor, "T F"]) -> Float[Tensor, "T d"]:
        written = values @ self.neurons.down
        return written if self.neurons.down_bias is None else written + self.neurons.down_bias


def neuron_transcoders(model: nn.Module, architecture: Architecture, wanted: Neurons) -> Transcoders:
    """Return a model's neurons as transcoders; they are its own weights, and move with it.

    Raises:
        ModelError: an MLP of the model is of a kind that is not known.

    """
    layers = [
        _layer(layer, architecture, wanted.strongest) for layer in model.get_submodule(architecture.layers)
    ]
    return Transcoders(tuple(layers), "mlp.hook_in", "hook_mlp_out", wanted.name)


def _layer(layer: nn.Module, architecture: Architecture, strongest: int | None) -> NeuronLayer:
    if getattr(layer, "enable_moe_block", False):
        raise ModelError(
            f"{architecture.name} with experts beside the MLP, each behind norms of its own, is not known as "
            "neurons: name a dictionary in `transcoders`."
        )
    neurons = _neurons_of(layer.get_submodule(architecture.mlp))
    zeros = neurons.up.new_zeros
    bias = zeros(neurons.down.shape[1]) if neurons.down_bias is None else neurons.down_bias
    decoder, norm = neurons.down, None
    if architecture.mlp_output_norm:
        norm = norm_map(layer.get_submodule(architecture.mlp_output_norm), architecture.norm)
        # A bias would be scaled by the norm, position by position: it goes to the error.
        decoder, bias = decoder * norm.weight, torch.zeros_like(bias)
    return NeuronLayer(
        encoder=neurons.up,
        encoder_bias=zeros(len(neurons.up)) if neurons.up_bias is None else neurons.up_bias,
        decoder=decoder[:, None],
        decoder_bias=bias,
        activation=ReLU(),
        neurons=neurons,
        output_norm=norm,
        strongest=strongest,
    )


def _neurons_of(mlp: nn.Module) -> MlpNeurons:
    """Return an MLP's neurons, by the names of its parts."""
    kinds = {
        "c_fc": _gpt2,
        "dense_h_to_4h": _neox,
        "gate_proj": _gated,
        "gate_up_proj": _fused,
        "experts": _experts,
    }
    for part, read in kinds.items():
        if hasattr(mlp, part):
            return read(mlp)
    raise ModelError(
        f"MLPs of kind {type(mlp).__name__} are not known as neurons: name a dictionary in `transcoders`."
    )


def _detached(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()


def _gpt2(mlp: nn.Module) -> MlpNeurons:
    return MlpNeurons(
        mlp.c_fc.weight.detach().T,
        mlp.c_fc.bias.detach(),
        mlp.c_proj.weight.detach(),
        mlp.c_proj.bias.detach(),
        lambda _, up: mlp.act(up),
    )


def _neox(mlp: nn.Module) -> MlpNeurons:
    return MlpNeurons(
        mlp.dense_h_to_4h.weight.detach(),
        mlp.dense_h_to_4h.bias.detach(),
        mlp.dense_4h_to_h.weight.detach().T,
        mlp.dense_4h_to_h.bias.detach(),
        lambda _, up: mlp.act(up),
    )


def _gated(mlp: nn.Module) -> MlpNeurons:
    return MlpNeurons(
        mlp.up_proj.weight.detach(),
        _detached(mlp.up_proj.bias),
        mlp.down_proj.weight.detach().T,
        _detached(mlp.down_proj.bias),
        lambda inputs, up: mlp.act_fn(mlp.gate_proj(inputs)) * up,
    )


def _fused(mlp: nn.Module) -> MlpNeurons:
    gate, up = mlp.gate_up_proj.weight.detach().chunk(2)
    act = mlp.activation_fn
    return MlpNeurons(
        up, None, mlp.down_proj.weight.detach().T, None, lambda inputs, up: act(inputs @ gate.T) * up
    )


def _experts(mlp: nn.Module) -> MlpNeurons:
    """Return the neurons of all experts, one expert after the other, and of one that all tokens share."""
    experts = mlp.experts
    if hasattr(mlp, "router"):
        return _gpt_oss(mlp)
    gate, up = experts.gate_up_proj.detach().chunk(2, dim=1)
    E, width = len(gate), gate.shape[1]
    neurons = MlpNeurons(
        up.flatten(0, 1),
        None,
        experts.down_proj.detach().transpose(1, 2).flatten(0, 1),
        None,
        lambda inputs, up: (
            experts.act_fn(inputs @ gate.flatten(0, 1).T) * up * _routed(mlp.gate, inputs, E, width)
        ),
    )
    return _with_shared(mlp, neurons) if hasattr(mlp, "shared_expert") else neurons


def _routed(router: nn.Module, inputs: Float[Tensor, "T d"], E: int, width: int) -> Float[Tensor, "T F"]:
    """Return the weight that the router gives each neuron's expert, 0 where it was not chosen."""
    _, weights, chosen = router(inputs)
    of_experts = inputs.new_zeros(len(inputs), E).scatter_(1, chosen, weights.to(inputs))
    return of_experts.repeat_interleave(width, dim=1)


def _with_shared(mlp: nn.Module, routed: MlpNeurons) -> MlpNeurons:
    shared, n_routed = _gated(mlp.shared_expert), len(routed.up)

    def activations(inputs: Tensor, up: Tensor) -> Tensor:
        open_by = torch.sigmoid(mlp.shared_expert_gate(inputs))
        of_shared = shared.activations(inputs, up[:, n_routed:]) * open_by
        return torch.cat((routed.activations(inputs, up[:, :n_routed]), of_shared), dim=1)

    up, down = torch.cat((routed.up, shared.up)), torch.cat((routed.down, shared.down))
    return replace(routed, up=up, down=down, activations=activations)


def _gpt_oss(mlp: nn.Module) -> MlpNeurons:
    """Return gpt-oss's neurons, `weight * glu(gate) * (up + 1)`, gate and up taking turns in one matrix."""
    experts = mlp.experts
    fused, bias = experts.gate_up_proj.detach(), experts.gate_up_proj_bias.detach()
    E, width = len(fused), experts.down_proj.shape[1]
    gate = fused[..., ::2].transpose(1, 2).flatten(0, 1)
    gate_bias = bias[:, ::2].flatten()

    def activations(inputs: Tensor, up: Tensor) -> Tensor:
        gates = torch.addmm(gate_bias, inputs, gate.T).clamp(max=experts.limit)
        open_by = gates * torch.sigmoid(gates * experts.alpha)
        # The pre-activation has the 1 in it already; what is clamped is `up` itself.
        limited = (up - 1).clamp(-experts.limit, experts.limit) + 1
        return limited * open_by * _routed(mlp.router, inputs, E, width)

    up = fused[..., 1::2].transpose(1, 2).flatten(0, 1)
    down = experts.down_proj.detach().flatten(0, 1)
    return MlpNeurons(up, bias[:, 1::2].flatten() + 1, down, None, activations)
