"""The untouched run of one or more prompts: what interventions are measured against and held to.

Prompts of different length are padded on the right; with causal attention what comes after a position
never reaches it, so no mask is needed and every prompt's own positions are as if it ran alone.

Legend: P prompts, T positions of the longest, d model width, H heads, V vocabulary, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.intervention.module_hooks import watch
from pipeline.intervention.reading import read_inputs
from pipeline.model import ReplacementModel


@dataclass(frozen=True)
class Seen:
    """What one module read and wrote."""

    input: Float[Tensor, "P T d"]
    output: Float[Tensor, "P T d"]


@dataclass(frozen=True)
class LayerRun:
    """What an untouched run showed at one layer."""

    attention_norm: Seen
    """Its input is the layer's: the residual stream."""

    attention: Seen
    """The attention module, before the norm that may follow it."""

    pattern: Float[Tensor, "P H T T"]
    """Attention patterns, query by key."""

    attention_output_norm: Seen | None
    """The norm between the attention and the residual stream, where there is one."""

    mlp_norm: Seen
    """The norm that the MLP and the dictionary read through."""

    read: Float[Tensor, "P T d"]
    """What the dictionary reads."""

    mlp_output: Float[Tensor, "P T d"]
    """What the MLP adds to the residual stream."""


@dataclass(frozen=True)
class BaseRun:
    """An untouched run."""

    model: ReplacementModel
    """The model that ran."""

    input_tokens: Int[Tensor, "P T"]
    """Token ids, padded on the right."""

    lengths: tuple[int, ...]
    """Positions of each prompt."""

    layers: tuple[LayerRun, ...]
    """From the first layer."""

    final_norm: Seen
    """The norm in front of the unembedding."""

    logits: Float[Tensor, "P V"]
    """Real logits at each prompt's last position."""

    @classmethod
    def of(cls, model: ReplacementModel, prompts: Sequence[str | Sequence[int] | Tensor]) -> BaseRun:
        """Run prompts untouched.

        Raises:
            PromptError: a prompt cannot be traced.

        """
        tokens = [model.ensure_tokenized(prompt) for prompt in prompts]
        lengths = tuple(len(ids) for ids in tokens)
        padded = nn.utils.rnn.pad_sequence(tokens, batch_first=True)
        return _record(model, padded, lengths)

    @cached_property
    def errors(self) -> tuple[Float[Tensor, "P T d"], ...]:
        """Each layer's error vectors: what the dictionary does not reconstruct of the MLP's output."""
        frozen = [
            self.model.freeze(tokens[:length])
            for tokens, length in zip(self.input_tokens, self.lengths, strict=True)
        ]
        return tuple(
            nn.utils.rnn.pad_sequence([prompt.layers[index].error for prompt in frozen], batch_first=True)
            for index in range(self.model.n_layers)
        )

    @property
    def n_positions(self) -> int:
        """Positions of the longest prompt, T."""
        return self.input_tokens.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the model."""
        return self.logits.dtype

    def last_positions(self) -> Int[Tensor, " P"]:
        """Return each prompt's last position."""
        return torch.tensor(self.lengths, device=self.input_tokens.device) - 1


def last_logits(
    model: ReplacementModel, tokens: Int[Tensor, "B T"], last: Int[Tensor, " B"]
) -> Float[Tensor, "B V"]:
    """Run the model as it stands (hooks and all) and return the logits at one position of each row."""
    positions, place = last.unique(return_inverse=True)
    logits = model.model(input_ids=tokens, use_cache=False, logits_to_keep=positions).logits
    return logits[torch.arange(len(last), device=last.device), place]


@torch.inference_mode()
def _record(model: ReplacementModel, tokens: Int[Tensor, "P T"], lengths: tuple[int, ...]) -> BaseRun:
    last = torch.tensor(lengths, device=tokens.device) - 1
    layers = model.model.get_submodule(model.family.layers)
    final_norm = model.model.get_submodule(model.family.final_norm)
    watched = [module for layer in layers for module in _named(model, layer).values()]
    with watch([*watched, final_norm]) as seen:
        logits = last_logits(model, tokens, last)
    return BaseRun(
        model=model,
        input_tokens=tokens,
        lengths=lengths,
        layers=tuple(_layer_run(model, index, layer, seen) for index, layer in enumerate(layers)),
        final_norm=Seen(*seen[final_norm][:2]),
        logits=logits,
    )


def _layer_run(
    model: ReplacementModel, index: int, layer: nn.Module, seen: dict[nn.Module, tuple[Tensor, ...]]
) -> LayerRun:
    modules = _named(model, layer)
    shown = {name: Seen(*seen[module][:2]) for name, module in modules.items()}
    hook, norm = model.transcoders.input_hook, model.maps[index].mlp_norm
    return LayerRun(
        attention_norm=shown["attention_norm"],
        attention=shown["attention"],
        pattern=seen[modules["attention"]][2],
        attention_output_norm=shown.get("attention_output_norm"),
        mlp_norm=shown["mlp_norm"],
        read=read_inputs(shown["mlp_norm"].input, shown["mlp_norm"].output, hook, norm),
        mlp_output=shown["writer"].output,
    )


def _named(model: ReplacementModel, layer: nn.Module) -> dict[str, nn.Module]:
    family = model.family
    paths = {
        "attention_norm": family.attention_norm,
        "attention": family.attention,
        "attention_output_norm": family.attention_output_norm,
        "mlp_norm": family.mlp_norm,
        "writer": family.mlp_output_norm or family.mlp,
    }
    return {name: layer.get_submodule(path) for name, path in paths.items() if path}
