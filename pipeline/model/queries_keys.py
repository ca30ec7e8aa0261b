"""Queries and keys of a prompt, and the directions of the residual stream that their numbers read.

A head's score of a key, before the softmax, is the product of a query and a key, times a constant. With the
norms' denominators frozen both are affine in the residual stream at their own position, whatever is between:
projections with biases, rotary tables of any kind, gains of q/k norms. So they are not described a second
time: the model's own attention code computes them, on the prompt, and autograd through that code gives what
each number reads. Every module of an attention whose class is called a norm is held.

A soft-cap comes after this score and is left out: it keeps the order of the keys. So do sinks, which are no
keys, and masks, which say only which keys are seen.

Legend: T positions, d model width, H heads, K key/value heads, h head width.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from pipeline.model.frozen import LAST
from pipeline.model.linear import norm_map
from pipeline.model.module_hooks import replaced_forward
from pipeline.model.recording import record
from pipeline.model.replacement_model import ReplacementModel

WATCHED = "circuit_sweep_watched"
"""Name under which the attention that tells its queries and keys is known to transformers."""


@dataclass(frozen=True)
class LayerScores:
    """Queries and keys of one layer, on its device."""

    query: Float[Tensor, "H T h"]
    key: Float[Tensor, "K T h"]

    scaling: float
    """Factor of their product."""

    visible: Bool[Tensor, "T T"]
    """Keys that each query sees."""

    pattern: Float[Tensor, "H T T"]
    """What becomes of the scores: the attention that each query pays to each key."""

    def key_head(self, head: int) -> int:
        """Return the key/value head of a head."""
        return head * len(self.key) // len(self.query)

    def score(self, head: int, query: int, key: int) -> float:
        """Return one score before soft-cap, mask and softmax."""
        numbers = self.query[head, query].double() @ self.key[self.key_head(head), key].double()
        return float(numbers) * self.scaling


class QueriesKeys:
    """A prompt's queries and keys, as the model computes them."""

    def __init__(self, model: ReplacementModel, tokens: Int[Tensor, " T"]) -> None:
        """Run the model on a prompt."""
        self._model = model
        self._stack = model.model.get_submodule(model.architecture.layers)
        self._calls: list[tuple[tuple, dict[str, Any]]] = []
        self.layers: tuple[LayerScores, ...] = self._watch(tokens.to(model.device))
        """By layer."""

    def _attention(self, layer: int) -> nn.Module:
        return self._stack[layer].get_submodule(self._model.architecture.attention)

    # Tensors that were made in inference mode cannot take part in autograd later.
    @torch.inference_mode(False)
    @torch.no_grad()
    def _watch(self, tokens: Int[Tensor, " T"]) -> tuple[LayerScores, ...]:
        seen: list[dict[str, Any]] = []
        model, architecture = self._model.model, self._model.architecture
        with ExitStack() as stack:
            for layer in range(len(self._stack)):
                hook = self._attention(layer).register_forward_pre_hook(self._keep_call, with_kwargs=True)
                stack.callback(hook.remove)
            stack.enter_context(_watched(model, seen))
            sites = ("attention_norm.input", "attention.pattern")
            self._recorded = stack.enter_context(record(model, architecture, sites))
            model(input_ids=tokens[None], use_cache=False, logits_to_keep=LAST)
        return tuple(
            LayerScores(**found, pattern=self._recorded["attention.pattern", layer][0])
            for layer, found in enumerate(seen)
        )

    def _keep_call(self, _module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self._calls.append((args, kwargs))

    def query_readings(self, layer: int, head: int) -> Float[Tensor, "h T d"]:
        """Return the gradient of each number of a head's queries in the residual stream at their position."""
        return self._readings(layer, "query", head)

    def key_readings(self, layer: int, head: int) -> Float[Tensor, "h T d"]:
        """Return the same of the keys of a key/value head; they may be those of a layer below."""
        return self._readings(self.key_layer(layer), "key", head)

    def key_layer(self, layer: int) -> int:
        """Return the layer whose residual stream the keys of a layer read: itself, or one below (Gemma 4)."""
        return self._model.maps[layer].value_layer

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _readings(self, layer: int, which: str, head: int) -> Float[Tensor, "h T d"]:
        args, kwargs = self._calls[layer]
        # Layers that share their keys leave them in a dictionary.
        kwargs = {
            name: copy.copy(value) if isinstance(value, dict) else value for name, value in kwargs.items()
        }
        read = (args[0] if args else kwargs["hidden_states"]).detach().clone().requires_grad_()
        args, kwargs = ((read, *args[1:]), kwargs) if args else ((), kwargs | {"hidden_states": read})
        attention, seen = self._attention(layer), []
        with ExitStack() as stack:
            for module in attention.modules():
                if type(module).__name__.endswith("Norm") and getattr(module, "weight", None) is not None:
                    stack.enter_context(_held(module, self._model))
            stack.enter_context(_watched(self._model.model, seen, only=True))
            stack.enter_context(suppress(_SeenEnoughError))
            attention(*args, **kwargs)
        numbers = seen[0][which][head]
        rows = [
            torch.autograd.grad(number.sum(), read, retain_graph=True)[0][0] for number in numbers.unbind(-1)
        ]
        norm = self._model.maps[layer].attention_norm
        scale = norm.scale(self._recorded["attention_norm.input", layer][0])
        return norm.transpose(torch.stack(rows)).detach() * scale[:, None]


class _SeenEnoughError(Exception):
    """Queries and keys are known; what attention makes of them is not asked for."""


@contextmanager
def _watched(model: nn.Module, seen: list[dict[str, Any]], only: bool = False) -> Iterator[None]:
    """Let attentions tell their queries and keys; with `only`, go no further."""

    def attend(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, Tensor]:
        scaling = options.get("scaling")
        T = query.shape[2]
        causal = torch.ones(T, T, dtype=torch.bool, device=query.device).tril()
        seen.append(
            {
                "query": query[0],
                "key": key[0],
                # As transformers has it where nothing is said.
                "scaling": query.shape[-1] ** -0.5 if scaling is None else float(scaling),
                "visible": causal if mask is None else causal & (mask[0, 0, :T, :T] == 0),
            }
        )
        if only:
            raise _SeenEnoughError
        eager = sys.modules[type(module).__module__].eager_attention_forward
        return eager(module, query, key, value, mask, **options)

    before = model.config._attn_implementation
    AttentionInterface.register(WATCHED, attend)
    AttentionMaskInterface.register(WATCHED, eager_mask)
    model.set_attn_implementation(WATCHED)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _held(module: nn.Module, model: ReplacementModel) -> Any:
    """Hold a norm's denominator at what it is now."""
    norm = norm_map(module, model.architecture.norm)

    def forward(x: Tensor) -> Tensor:
        return norm.normalised(x, norm.scale(x.detach())) * norm.weight

    return replaced_forward(module, forward)
