"""Rows to train on: what each layer's MLP reads and writes at the tokens of some sequences.

The model runs once for all layers of a group, only up to the last of them, over a few sequences at a time
(padded on the right: with causal attention nothing that comes after a position reaches it). Rows at first
positions, of padding and of special tokens never leave this module: their activations are out of scale, and
would flatter every share of explained variance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipeline.model import LanguageModel, Recording, Site, read_inputs, record, special_ids
from pipeline.training.data.order import TrainingOrder
from pipeline.training.data.tokens import TokenSet
from pipeline.training.feature_shard import WHOLE, FeatureShard

SITES: tuple[Site, ...] = ("mlp_norm.input", "mlp_norm.output", "mlp.output")

TOKENS_OF_PASS = 8192
"""Tokens of one forward pass, padding counted."""


@dataclass(frozen=True)
class LayerRows:
    """Rows of one layer."""

    inputs: Float[Tensor, "rows d"]
    """What features read."""

    outputs: Float[Tensor, "rows d"]
    """What they are to write."""

    def __getitem__(self, rows: slice | Tensor) -> LayerRows:
        return LayerRows(self.inputs[rows], self.outputs[rows])


Rows = dict[int, LayerRows]
"""Rows of some layers, the same tokens in each."""


@dataclass(frozen=True)
class Pass:
    """Sequences of one forward pass, padded on the right. P sequences, T positions of the longest."""

    tokens: Int[Tensor, "P T"]
    inside: Bool[Tensor, "P T"]
    """True for all but padding."""

    used: Bool[Tensor, "P T"]
    """True for positions that carry features and give rows."""


@dataclass(frozen=True)
class ActivationReader:
    """Reads rows off a model."""

    model: LanguageModel
    layers: range
    reads: str
    """Hook point that features read."""

    autoencodes: bool = False
    """What is read is also what is to be written."""

    shard: FeatureShard = WHOLE
    """Processes that need the same rows; each runs the model on its share of the passes."""

    @torch.no_grad()
    def rows(self, sequences: Sequence[np.ndarray]) -> Rows:
        """Return the rows of some sequences, in their order."""
        passes = list(padded_passes(self.model, sequences))
        ends = np.cumsum([0, *(int(each.used.sum()) for each in passes)])
        sides = 1 if self.autoencodes else 2
        shape = (len(self.layers), sides, int(ends[-1]), self.model.d_model)
        whole = torch.zeros(shape, dtype=self.model.dtype, device=self.model.device)
        mine = range(self.shard.rank, len(passes), self.shard.size)
        for number, part in zip(mine, self.passes([passes[number] for number in mine]), strict=True):
            for place, rows in enumerate(part.values()):
                for side, values in enumerate((rows.inputs, rows.outputs)[:sides]):
                    whole[place, side, ends[number] : ends[number + 1]] = values
        self.shard.all_reduce(whole)
        return {
            layer: LayerRows(of_layer[0], of_layer[-1])
            for layer, of_layer in zip(self.layers, whole, strict=True)
        }

    @torch.no_grad()
    def passes(self, passes: Iterable[Pass]) -> Iterator[Rows]:
        """Yield the rows of each forward pass."""
        with (
            self.model.cut_after(self.layers[-1]),
            record(self.model.model, self.model.architecture, SITES) as recorded,
        ):
            for each in passes:
                self.model.model.base_model(input_ids=each.tokens, use_cache=False)
                yield {layer: self._layer(recorded, layer, each.used) for layer in self.layers}

    def _layer(self, recorded: Recording, layer: int, used: Bool[Tensor, "P T"]) -> LayerRows:
        outputs = recorded["mlp.output", layer][used]
        inputs = outputs
        if self.reads != "hook_mlp_out":
            sides = (recorded[f"mlp_norm.{side}", layer][used] for side in ("input", "output"))
            inputs = read_inputs(self.reads, self.model.mlp_norm(layer), *sides)
        return LayerRows(inputs, inputs if self.autoencodes else outputs)


def padded_passes(
    model: LanguageModel, sequences: Sequence[np.ndarray], most_tokens: int = TOKENS_OF_PASS
) -> Iterator[Pass]:
    """Yield a few sequences at a time, with the positions that carry features."""
    special = torch.tensor(sorted(special_ids(model.tokenizer)), dtype=torch.long, device=model.device)
    start = 0
    while start < len(sequences):
        stop, longest = start, 0
        while stop < len(sequences):
            longest = max(longest, len(sequences[stop]))
            if stop > start and longest * (stop + 1 - start) > most_tokens:
                break
            stop += 1
        part = [torch.from_numpy(each.astype(np.int64)) for each in sequences[start:stop]]
        tokens = torch.nn.utils.rnn.pad_sequence(part, batch_first=True).to(model.device)
        lengths = torch.tensor([len(each) for each in part], device=model.device)
        positions = torch.arange(tokens.shape[1], device=model.device)[None]
        inside = positions < lengths[:, None]
        used = inside & (positions >= model.zero_positions) & ~torch.isin(tokens, special)
        yield Pass(tokens, inside, used)
        start = stop


@dataclass
class TrainingRows:
    """The rows of each step; keeps the activations of one buffer."""

    reader: ActivationReader
    tokens: TokenSet
    order: TrainingOrder
    _kept: tuple[int, Rows] | None = field(default=None, repr=False)
    _shuffled: tuple[int, Tensor] | None = field(default=None, repr=False)

    def step(self, step: int) -> Rows:
        """Return the rows of a step."""
        buffer, place = self.order.locate(step)
        rows = self._buffer(0 if self.order.is_whole else buffer)
        chosen = self._order(buffer)[place * self.order.batch :][: self.order.batch]
        chosen = chosen % len(next(iter(rows.values())).inputs)  # a short text is repeated
        return {layer: of_layer[chosen] for layer, of_layer in rows.items()}

    def _buffer(self, buffer: int) -> Rows:
        """Return the rows of a buffer, in the order of its sequences."""
        if self._kept is None or self._kept[0] != buffer:
            self._kept = None  # two would not fit where one is large
            sequences = self.order.sequences_of(buffer)[: len(self.tokens)]
            self._kept = (buffer, self.reader.rows(self.tokens.sequences(sequences)))
        return self._kept[1]

    def _order(self, buffer: int) -> Int[Tensor, " rows"]:
        if self._shuffled is None or self._shuffled[0] != buffer:
            rows = int(self.tokens.rows[self.order.sequences_of(buffer)].sum())
            shuffled = torch.from_numpy(self.order.permutation(buffer, rows))
            self._shuffled = (buffer, shuffled.to(self.reader.model.device))
        return self._shuffled[1]
