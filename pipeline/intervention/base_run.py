"""The clean run of one or more prompts: what interventions are measured against, with values to freeze.

Prompts of different length are padded on the right; with causal attention what comes after a position
never reaches it, so no mask is needed and every prompt's own positions are as if it ran alone.

Legend: P prompts, T positions of the longest, d model width, H heads, V vocabulary, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.model import Recording, ReplacementModel, Site, explain_outputs, read_inputs, record

SITES: tuple[Site, ...] = tuple(site for site in get_args(Site) if site != "embedding.output")
"""Sites whose values interventions may freeze or start from."""


@dataclass(frozen=True)
class Seen:
    """Input and output of one module."""

    input: Float[Tensor, "P T d"]
    output: Float[Tensor, "P T d"]


@dataclass(frozen=True)
class LayerRun:
    """Recorded values of a clean run at one layer."""

    attention_norm: Seen
    """Its input is the layer's: the residual stream."""

    attention: Seen
    """The attention module, before the norm that may follow it."""

    pattern: Float[Tensor, "P H T T"]
    """Attention patterns, query by key."""

    value_norm_input: Float[Tensor, "P T K h"] | None
    """What the norm of the values reads, where there is one."""

    attention_output_norm: Seen | None
    """The norm between the attention and the residual stream, where there is one."""

    mlp_norm: Seen
    """The norm that the MLP and the dictionary read through."""

    read: Float[Tensor, "P T d"]
    """Inputs of the transcoder."""

    mlp_output: Float[Tensor, "P T d"]
    """Outputs of the MLP, as added to the residual stream."""

    token_write: Float[Tensor, "P T d"] | None
    """What tokens write behind a gate (Gemma 4), where they do."""


@dataclass(frozen=True)
class BaseRun:
    """A clean run."""

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
        """Run prompts unchanged.

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
        return tuple(
            nn.utils.rnn.pad_sequence([error for _, error in of_layer], batch_first=True)
            for of_layer in zip(*self._explained, strict=True)
        )

    @cached_property
    def active(self) -> tuple[Int[Tensor, "n 3"], ...]:
        """Each layer's active features: (prompt, position, feature)."""
        return tuple(
            torch.cat([nn.functional.pad(cells, (1, 0), value=p) for p, (cells, _) in enumerate(of_layer)])
            for of_layer in zip(*self._explained, strict=True)
        )

    @cached_property
    @torch.inference_mode()
    def _explained(self) -> list[list[tuple[Int[Tensor, "n 2"], Float[Tensor, "T d"]]]]:
        """Each prompt's active features (position, feature) and errors, by layer."""
        return [
            [
                (cells, error)
                for cells, _, error in explain_outputs(
                    self.model.transcoders,
                    [layer.read[prompt, :length] for layer in self.layers],
                    [layer.mlp_output[prompt, :length] for layer in self.layers],
                    self.model.zero_positions,
                )
            ]
            for prompt, length in enumerate(self.lengths)
        ]

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
    positions, index = last.unique(return_inverse=True)
    logits = model.model(input_ids=tokens, use_cache=False, logits_to_keep=positions).logits
    return logits[torch.arange(len(last), device=last.device), index]


@torch.inference_mode()
def _record(model: ReplacementModel, tokens: Int[Tensor, "P T"], lengths: tuple[int, ...]) -> BaseRun:
    last = torch.tensor(lengths, device=tokens.device) - 1
    with record(model.model, model.architecture, SITES) as recorded:
        logits = last_logits(model, tokens, last)
    return BaseRun(
        model=model,
        input_tokens=tokens,
        lengths=lengths,
        layers=tuple(_layer_run(model, index, recorded) for index in range(model.n_layers)),
        final_norm=Seen(recorded["final_norm.input"], recorded["final_norm.output"]),
        logits=logits,
    )


def _layer_run(model: ReplacementModel, index: int, recorded: Recording) -> LayerRun:
    def seen(module: Literal["attention_norm", "attention", "attention_output_norm", "mlp_norm"]) -> Seen:
        return Seen(recorded[f"{module}.input", index], recorded[f"{module}.output", index])

    mlp_norm = seen("mlp_norm")
    hook, norm = model.transcoders.input_hook, model.maps[index].mlp_norm
    return LayerRun(
        attention_norm=seen("attention_norm"),
        attention=seen("attention"),
        pattern=recorded["attention.pattern", index],
        value_norm_input=recorded.get(("value_norm.input", index)),
        attention_output_norm=(
            seen("attention_output_norm") if model.architecture.attention_output_norm else None
        ),
        mlp_norm=mlp_norm,
        read=read_inputs(hook, norm, mlp_norm.input, mlp_norm.output),
        mlp_output=recorded["mlp.output", index],
        token_write=recorded.get(("token_writer.output", index)),
    )
