"""One forward pass of a batch of rows with features changed and parts of the model frozen.

The Hugging Face model runs its own code but for what is frozen. A frozen attention is affine in its input,
so its output is the clean one plus `W_O P W_V (x - x0)`: no biases, queries or keys are needed, and
what did not change stays exactly as it was. Norms with frozen denominators and frozen MLP outputs work the
same way. In the replacement run what an MLP computes is thrown away for what the dictionary writes.

Nothing below the lowest changed layer or before the first changed position can differ from the
clean run. Layers below are stepped over: the stored residual stream enters above them. With frozen
patterns all else works position by position, so earlier positions are left out of the pass as well.

Legend: B rows, T positions, t those that run, d model width, H heads, K key/value heads, h head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.intervention.base_run import BaseRun, Seen
from pipeline.intervention.intervention_batch import InterventionBatch
from pipeline.intervention.mode import Mode
from pipeline.intervention.reading import activation_grid, activations_of
from pipeline.model import NormMap, hooked_input, hooked_output, read_inputs, replaced_forward

Reader = Callable[[int, Float[Tensor, "B t d"]], None]
"""Called with a layer and what its dictionary reads there, in layer order."""


@dataclass
class InterventionPass:
    """The changes of one batch, and what of the base run freezes or carries them."""

    base: BaseRun
    changes: InterventionBatch
    mode: Mode
    first_layer: int
    """Layers below this one are stepped over."""

    first_position: int
    """Positions before this one are left out of the pass."""

    on_read: Reader | None = None
    """Told of everything that dictionaries read."""

    written: dict[int, Tensor] = field(default_factory=dict)
    """Changes still to be added, (B, t, d), by the layer that they are written at."""

    _values: dict[int, Float[Tensor, "B t K h"]] = field(default_factory=dict)
    """How the values of each layer's attention have changed in this pass."""

    def __post_init__(self) -> None:
        """Compute the errors where they count, while the model is still itself."""
        needed = self.mode.replaces_mlps or self.changes.without_errors.any()
        self.errors = self.base.errors if needed else None

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Install the pass on the model; it is as before on leaving."""
        with ExitStack() as stack:
            model = self.base.model
            for index, layer in enumerate(model.model.get_submodule(model.architecture.layers)):
                if index < self.first_layer:
                    stack.enter_context(replaced_forward(layer, _identity))
                else:
                    self._install_layer(stack, index, layer)
            if self.mode.freezes_norms(model.n_layers):
                norm = model.model.get_submodule(model.architecture.final_norm)
                self._freeze_norm(stack, norm, model.final_norm, self.base.final_norm)
            yield

    def _install_layer(self, stack: ExitStack, index: int, layer: nn.Module) -> None:
        architecture, run = self.base.model.architecture, self.base.layers[index]
        if index == self.first_layer and (index > 0 or self.first_position > 0):
            stack.enter_context(hooked_input(layer, lambda _: self._rows(run.attention_norm.input)))
        if self.mode.freeze_patterns:
            attention = layer.get_submodule(architecture.attention)
            stack.enter_context(replaced_forward(attention, self._frozen_attention(index, attention)))
        mlp_norm = layer.get_submodule(architecture.mlp_norm)
        if self.mode.freezes_norms(self.base.model.n_layers):
            maps = self.base.model.maps[index]
            attention_norm = layer.get_submodule(architecture.attention_norm)
            self._freeze_norm(stack, attention_norm, maps.attention_norm, run.attention_norm)
            self._freeze_norm(stack, mlp_norm, maps.mlp_norm, run.mlp_norm)
            if architecture.attention_output_norm:
                output_norm = layer.get_submodule(architecture.attention_output_norm)
                self._freeze_norm(stack, output_norm, maps.attention_output_norm, run.attention_output_norm)
            if run.token_write is not None:
                gated = layer.get_submodule(architecture.token_writer)
                stack.enter_context(hooked_output(gated, lambda *_: self._rows(run.token_write)))
        stack.enter_context(hooked_output(mlp_norm, lambda read, wrote: self._read(index, read, wrote)))
        writer = layer.get_submodule(architecture.mlp_output_norm or architecture.mlp)
        stack.enter_context(hooked_output(writer, lambda _, wrote: self._write(index, wrote)))

    def _rows(self, recorded: Float[Tensor, "P T ..."]) -> Float[Tensor, "B t ..."]:
        """Return what the base run recorded for the positions and rows of this pass."""
        kept = recorded[:, self.first_position :]
        if kept.shape[0] == 1:
            return kept.expand(self.changes.n_rows, *kept.shape[1:])
        return kept[self.changes.prompt_of_row.to(kept.device)]

    def _pattern(self, index: int) -> Float[Tensor, "b H t t"]:
        start = self.first_position
        pattern = self.base.layers[index].pattern[:, :, start:, start:]
        return pattern if pattern.shape[0] == 1 else pattern[self.changes.prompt_of_row.to(pattern.device)]

    def _frozen_attention(self, index: int, attention: nn.Module) -> Callable[..., tuple[Tensor, None]]:
        model, run = self.base.model, self.base.layers[index].attention
        value, output = model.architecture.projections(attention, model.model.config.num_attention_heads)
        source = model.maps[index].value_layer

        def forward(*args: Any, **kwargs: Any) -> tuple[Tensor, None]:
            x = args[0] if args else kwargs["hidden_states"]
            if source < self.first_layer:  # values of a layer that is stepped over have not changed
                return self._rows(run.output), None
            pattern = self._pattern(index)
            head_width = output.shape[1] // pattern.shape[1]
            if source == index:
                change = ((x - self._rows(run.input)) @ value.T).unflatten(-1, (-1, head_width))
                self._values[index] = self._normed_values(index, change)
            values = self._values[source].to(x.device)
            groups = pattern.shape[1] // values.shape[2]
            by_group = pattern.unflatten(1, (-1, groups))  # b K g t t
            mixed = by_group @ values.permute(0, 2, 1, 3)[:, :, None]  # B K g t h
            joined = mixed.flatten(1, 2).transpose(1, 2).flatten(2)
            return self._rows(run.output) + joined @ output.T, None

        return forward

    def _normed_values(self, index: int, change: Float[Tensor, "B t K h"]) -> Float[Tensor, "B t K h"]:
        """Return how values change behind their norm, if they have one, when they change in front of it."""
        norm = self.base.model.maps[index].value_norm
        if norm is None:
            return change
        before = self._rows(self.base.layers[index].value_norm_input)
        if self.mode.freezes_norms(self.base.model.n_layers):
            return change * norm.scale(before)[..., None]
        return norm.normalised(before + change) - norm.normalised(before)

    def _freeze_norm(self, stack: ExitStack, module: nn.Module, norm: NormMap, run: Seen) -> None:
        def forward(x: Tensor) -> Tensor:
            change = x - self._rows(run.input)
            if norm.centred:
                change = change - change.mean(-1, keepdim=True)
            scale = self._rows(norm.scale(run.input))[..., None]
            return self._rows(run.output) + change * scale * norm.weight

        stack.enter_context(replaced_forward(module, forward))

    def _read(self, index: int, norm_input: Tensor, norm_output: Tensor) -> None:
        """Take a layer's changes against what its dictionary reads now."""
        model, run = self.base.model, self.base.layers[index]
        norm, scale = model.maps[index].mlp_norm, None
        if self.mode.freezes_norms(model.n_layers):
            scale = self._rows(norm.scale(run.mlp_norm.input))
        read = read_inputs(model.transcoders.input_hook, norm, norm_input, norm_output, scale)
        if self.on_read is not None:
            self.on_read(index, read)
        chosen = self.changes.at(index)
        if self.mode.replaces_mlps:
            self._decode(index, chosen, read)
        elif len(chosen):
            self._change(index, chosen, self._rows(run.read) if self.mode.layers is not None else read)
        skip = model.transcoders.layers[index].skip
        if skip is not None and self.mode.freezes_output(index):
            self._add(index, (read - self._rows(run.read)) @ skip)
        elif skip is not None and self.mode.replaces_mlps:
            self._add(index, read @ skip)

    def _change(self, index: int, chosen: Int[Tensor, " m"], read: Float[Tensor, "B t d"]) -> None:
        """Turn changes of features into what they write, at this layer and (CLT) above."""
        layer = self.base.model.transcoders.layers[index]
        here = read.device
        rows, amounts = self.changes.rows[chosen].to(here), self.changes.amounts[chosen].to(here)
        _, positions, features = self.changes.features[chosen].to(here).unbind(1)
        positions = positions - self.first_position
        current = activations_of(layer, read[rows, positions], features)
        wanted = torch.where(self.changes.is_factor[chosen].to(here), amounts * current, amounts)
        for write in range(layer.decoder.shape[1]):
            if not self.mode.writes_at(index + write):
                continue
            change = torch.zeros_like(read)
            vectors = layer.decoder_rows(features, write) * (wanted - current)[:, None]
            self._add(index + write, change.index_put_((rows, positions), vectors, accumulate=True))

    def _decode(self, index: int, chosen: Int[Tensor, " m"], read: Float[Tensor, "B t d"]) -> None:
        """Decode the clean run's features as they are now, the changed ones at their values."""
        layer, here = self.base.model.transcoders.layers[index], read.device
        active = self.base.active[index].to(here)
        active = active[active[:, 1] >= self.first_position]
        changed = self.changes.features[chosen, 1:].to(here)
        both = torch.cat((active[:, 1:], changed))
        names = both[:, 0] * layer.n_features + both[:, 1]  # `unique` is several times faster than of pairs
        names, number = names.unique(return_inverse=True)
        cells = torch.stack((names // layer.n_features, names % layer.n_features), dim=1)
        local = cells - torch.tensor([self.first_position, 0], device=here)
        current = activation_grid(layer, read, local)
        is_active = torch.zeros(len(self.base.lengths), len(cells), dtype=torch.bool, device=here)
        is_active[active[:, 0], number[: len(active)]] = True
        values = current * is_active[self.changes.prompt_of_row.to(here)]
        rows, amounts = self.changes.rows[chosen].to(here), self.changes.amounts[chosen].to(here)
        of_change = number[len(active) :]
        scaled = amounts * current[rows, of_change]
        values[rows, of_change] = torch.where(self.changes.is_factor[chosen].to(here), scaled, amounts)
        positions, counts = local[:, 0].unique_consecutive(return_counts=True)
        for write in range(layer.decoder.shape[1]):
            written = torch.zeros_like(read)
            by_position = layer.decoder_rows(cells[:, 1], write).split(counts.tolist())
            for position, part, decoders in zip(
                positions.tolist(), values.split(counts.tolist(), dim=1), by_position, strict=True
            ):
                written[:, position] = part @ decoders
            self._add(index + write, written)

    def _add(self, layer: int, change: Float[Tensor, "B t d"]) -> None:
        change = change.to(self.base.layers[layer].mlp_output.device)
        self.written[layer] = self.written[layer] + change if layer in self.written else change

    def _write(self, index: int, output: Float[Tensor, "B t d"]) -> Float[Tensor, "B t d"]:
        if self.mode.freezes_output(index):
            output = self._rows(self.base.layers[index].mlp_output)
        if self.mode.replaces_mlps:
            return self._replaced(index)
        if self.errors is not None and self.mode.writes_at(index):
            gone = self.changes.without_errors[:, None, None].to(output.device)
            self._add(index, -self._rows(self.errors[index]) * gone)
        change = self.written.pop(index, None)
        return output if change is None else output + change

    def _replaced(self, index: int) -> Float[Tensor, "B t d"]:
        """Return what the dictionary writes in the place of a layer's MLP."""
        kept = ~self.changes.without_errors[:, None, None].to(self.errors[index].device)
        bias = self.base.model.transcoders.layers[index].decoder_bias
        output = self.written.pop(index) + bias + self._rows(self.errors[index]) * kept
        # Positions that carry no features have no error either: there nothing changes, and the MLP stays.
        still = max(0, self.base.model.zero_positions - self.first_position)
        output[:, :still] = self._rows(self.base.layers[index].mlp_output)[:, :still]
        return output


def _identity(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return hidden_states
