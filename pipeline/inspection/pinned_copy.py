"""A brute-force local replacement model: Hugging Face's own code with its nonlinear parts pinned.

The first run records attention patterns, norm denominators and MLP outputs; later runs use them
whatever goes in, so the model is linear in its token vectors and MLP outputs, and autograd through it
gives the exact Jacobian. Shares no arithmetic with the engine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from pipeline.model import NoNorm, Norm, ReplacementModel, optional_module


class PinnedCopy:
    """One prompt's model with everything nonlinear pinned to what this prompt gave."""

    def __init__(self, model: ReplacementModel, tokens: list[int]) -> None:
        self._model, self._architecture = model, model.architecture
        self._tokens = torch.tensor([tokens])
        self._pinned: dict[object, Tensor] = {}
        self._token_vectors: Tensor | None = None
        self._writes: list[Tensor] | None = None
        self._token_writes: dict[int, Tensor] | None = None
        self.reads: list[Tensor] = []
        """What each layer's dictionary reads, (T, d), of the last run."""
        self.written: list[Tensor] = []
        """What each MLP wrote, (T, d), of the first run."""
        self.token_writes: dict[int, Tensor] = {}
        """What tokens wrote behind a gate, (T, d), of the first run, by layer."""
        self._patch()
        self._run()
        self.first_reads = [read.detach() for read in self.reads]
        """What each layer's dictionary reads of the prompt itself, (T, d)."""
        self.token_vectors = self._embedded

    def __call__(
        self, token_vectors: Tensor, writes: list[Tensor], token_writes: dict[int, Tensor] | None = None
    ) -> Tensor:
        """Run with other token vectors, MLP outputs (skip path not counted) and what tokens write behind a
        gate, by layer (none by default); return the last position after the final norm, (d,), and leave what
        dictionaries read in `reads`.
        """
        self._token_vectors, self._writes = token_vectors, writes
        self._token_writes = token_writes or {}
        return self._run()

    def _run(self) -> Tensor:
        self.reads = []
        self._model.model(input_ids=self._tokens, use_cache=False)
        return self._last

    def _patch(self) -> None:
        model, architecture = self._model.model, self._architecture
        AttentionInterface.register("pinned", self._attention)
        AttentionMaskInterface.register("pinned", eager_mask)
        model.set_attn_implementation("pinned")
        self._replace_output(model.get_submodule(architecture.embedding), self._embed)
        self._pin_norm(model.get_submodule(architecture.final_norm), self._keep_final)
        for index, layer in enumerate(model.get_submodule(architecture.layers)):
            self._pin_norm(layer.get_submodule(architecture.attention_norm))
            self._pin_norm(layer.get_submodule(architecture.mlp_norm), self._keep_read)
            if architecture.attention_output_norm:
                self._pin_norm(layer.get_submodule(architecture.attention_output_norm))
            if (norm := optional_module(layer, architecture.value_norm)) is not None:
                self._pin_norm(norm)
            if (gated := optional_module(layer, architecture.token_writer)) is not None:
                self._replace_output(gated, lambda output, index=index: self._write_token(output, index))
            writer = layer.get_submodule(architecture.mlp_output_norm or architecture.mlp)
            self._replace_output(writer, lambda output, index=index: self._write(output, index))

    def _replace_output(self, module: nn.Module, replacement: Callable[[Tensor], Tensor]) -> None:
        def hook(_module: nn.Module, _args: object, output: object) -> object:
            if isinstance(output, tuple):
                return (replacement(output[0]), *output[1:])
            return replacement(output)

        module.register_forward_hook(hook)

    def _embed(self, output: Tensor) -> Tensor:
        self._embedded = output[0].detach()
        return output if self._token_vectors is None else self._token_vectors[None]

    def _write(self, output: Tensor, index: int) -> Tensor:
        skip = self._model.transcoders.layers[index].skip
        live = 0 if skip is None else self.reads[index] @ skip
        if self._writes is None:
            self.written.append(output[0].detach())
            return output
        return (self._writes[index] + live)[None]

    def _write_token(self, output: Tensor, index: int) -> Tensor:
        if self._token_writes is None:
            self.token_writes[index] = output[0].detach()
            return output
        return self._token_writes.get(index, torch.zeros_like(output[0]))[None]

    def _keep_final(self, norm_input: Tensor, normalised: Tensor, output: Tensor) -> None:
        self._last = output[0, -1]

    def _keep_read(self, norm_input: Tensor, normalised: Tensor, output: Tensor) -> None:
        if self._architecture.norm is Norm.LAYER:
            normalised = output  # TransformerLens' LayerNorm hooks it after weight and bias
        points = {"hook_resid_mid": norm_input, "mlp.hook_in": output, "ln2.hook_normalized": normalised}
        self.reads.append(points[self._model.transcoders.input_hook][0])

    def _pin_norm(self, module: nn.Module, keep: Callable[..., None] = lambda *_: None) -> None:
        if isinstance(module, NoNorm):
            module.register_forward_hook(lambda _, args, output: keep(output, output, output))
            return
        kind = self._architecture.norm
        epsilon = getattr(module, "variance_epsilon", None) or module.eps

        def forward(x: Tensor) -> Tensor:
            centred = x - x.mean(-1, keepdim=True) if kind is Norm.LAYER else x
            scale = torch.rsqrt(centred.pow(2).mean(-1, keepdim=True) + epsilon).detach()
            normalised = centred * self._pinned.setdefault(module, scale)
            weight = getattr(module, "weight", torch.ones_like(normalised[..., :1]))
            weight = weight + 1 if kind is Norm.RMS_PLUS_ONE else weight
            output = normalised * weight + getattr(module, "bias", 0 * weight)
            keep(x, normalised, output)
            return output

        module.forward = forward

    def _attention(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        **options: object,
    ) -> tuple[Tensor, Tensor]:
        if module not in self._pinned:
            attend = sys.modules[type(module).__module__].eager_attention_forward
            options.setdefault("scaling", value.shape[-1] ** -0.5)
            self._pinned[module] = attend(module, query, key, value, mask, **options)[1].detach()
        groups = query.shape[1] // value.shape[1]
        mixed = self._pinned[module] @ value.repeat_interleave(groups, dim=1)
        return mixed.transpose(1, 2).contiguous(), self._pinned[module]
