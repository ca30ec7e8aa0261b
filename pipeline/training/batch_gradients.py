"""The gradients of one batch, in pieces that fit the memory.

A batch's rows need each other only where BatchTopK cuts and where AuxK measures variance; all else is a sum
over rows. So the cut is found first, over all pieces; then each piece is decoded and sends its gradients
back, and what is held at once is one piece's matrix of activations. Whole or in pieces, the sums are the same
but for the last digits of float32.

Legend: B rows, d width, s layer that is read, t layer that is written to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.training.config import DictionaryConfig
from pipeline.training.data import Rows
from pipeline.training.feature_shard import FeatureShard
from pipeline.training.recipe import Code, MomentSums, Seen, TrainedLayer

Pair = tuple[int, int]
"""Layer that is read, layer that is written to."""

Weighted = tuple[Tensor, Tensor]
"""A result, and the gradient that it gets."""


@dataclass(frozen=True)
class BatchGradients:
    """Computes the gradients of batches into the weights of layers."""

    config: DictionaryConfig
    layers: Mapping[int, TrainedLayer]
    shard: FeatureShard
    dead_after: int

    def add(self, rows: Rows, k: int, piece: int) -> tuple[dict[int, float], dict[int, Seen]]:
        """Add a batch's gradients to the weights, and return each layer's loss and what was seen of it.

        Args:
            rows: of the batch.
            k: active features of a row, on average.
            piece: rows that are worked on at once.

        """
        inputs = {s: layer.normalisation.inputs(rows[s].inputs) for s, layer in self.layers.items()}
        targets = {s: layer.normalisation.outputs(rows[s].outputs) for s, layer in self.layers.items()}
        n_rows = len(next(iter(targets.values())))
        pieces = {s: each.split(piece) for s, each in inputs.items()}
        codes = [layer.codes(pieces[s], k, self.shard) for s, layer in self.layers.items()]
        seen = {s: Seen(torch.zeros_like(layer.silent, dtype=torch.bool)) for s, layer in self.layers.items()}
        parts: list[dict[int, Tensor]] = []
        for number, of_piece in enumerate(zip(*codes, strict=True)):
            first = number * piece
            errors = self._piece(
                dict(zip(self.layers, of_piece, strict=True)),
                {s: each[number] for s, each in pieces.items()},
                {t: target[first : first + piece] for t, target in targets.items()},
                n_rows,
            )
            for s, code in zip(self.layers, of_piece, strict=True):
                seen[s].add(code)
            parts.append(errors)
        errors = parts[0] if len(parts) == 1 else {t: torch.cat([part[t] for part in parts]) for t in targets}
        self._revive(inputs, errors, piece)
        return {t: float(error.square().mean()) for t, error in errors.items()}, seen

    @torch.no_grad()
    def fvu(self, passes: Iterable[Rows], k: int) -> dict[int, float]:
        """Return the share of variance that each layer leaves unexplained, and change nothing.

        Args:
            passes: rows, in parts.
            k: active features of a row, on average over a part.

        """
        left = dict.fromkeys(self.layers, 0.0)
        outputs = {s: MomentSums(len(layer.weights.decoder_bias)) for s, layer in self.layers.items()}
        rows = 0
        for part in passes:
            for t, error in self._left(part, k).items():
                left[t] += float(error.square().sum(dtype=torch.float64))
                outputs[t].add(self.layers[t].normalisation.outputs(part[t].outputs))
            rows += len(error)
        return {t: left[t] / rows / outputs[t].variance(f"what layer {t} writes") for t in left}

    def _left(self, rows: Rows, k: int) -> dict[int, Float[Tensor, "B d"]]:
        inputs = {s: layer.normalisation.inputs(rows[s].inputs) for s, layer in self.layers.items()}
        targets = {s: layer.normalisation.outputs(rows[s].outputs) for s, layer in self.layers.items()}
        codes = {s: next(iter(layer.codes([inputs[s]], k, self.shard))) for s, layer in self.layers.items()}
        bases = {s: layer.base(inputs[s]) for s, layer in self.layers.items()}
        return self._errors(targets, bases, self._written(codes))

    def _piece(
        self,
        codes: Mapping[int, Code],
        inputs: Mapping[int, Tensor],
        targets: Mapping[int, Tensor],
        rows: int,
    ) -> dict[int, Float[Tensor, "P d"]]:
        """Send the gradients of a piece of a batch of `rows` rows back, and return its errors."""
        bases = {s: layer.base(inputs[s]) for s, layer in self.layers.items()}
        parts = self._written(codes)
        errors = self._errors(targets, bases, parts)
        gradients = {t: error * (-2 / (rows * error.shape[1])) for t, error in errors.items()}
        pairs = [(part, gradients[t]) for (_, t), part in parts.items()]
        pairs += [(base, gradients[t]) for t, base in bases.items() if base.requires_grad]
        pairs += self._penalties(codes, rows)
        _send_back(pairs)
        return errors

    def _written(self, codes: Mapping[int, Code]) -> dict[Pair, Tensor]:
        return {(s, t): code.decode(t - s) for s, code in codes.items() for t in self._layers_above(s)}

    def _layers_above(self, layer: int) -> range:
        return range(layer, layer + len(self.layers[layer].weights.decoders))

    def _errors(
        self,
        targets: Mapping[int, Tensor],
        bases: Mapping[int, Tensor],
        parts: Mapping[Pair, Tensor],
    ) -> dict[int, Float[Tensor, "B d"]]:
        totals = self._summed({pair: part.detach() for pair, part in parts.items()})
        return {t: targets[t] - (totals[t] + bases[t].detach()) for t in targets}

    def _summed(self, parts: Mapping[Pair, Tensor]) -> dict[int, Tensor]:
        """Return what is written to each layer, by all layers and shards."""
        totals: dict[int, Tensor] = {}
        for (_, t), part in parts.items():
            totals[t] = totals[t] + part if t in totals else part
        if self.shard.size > 1:
            stacked = torch.stack(list(totals.values()))
            self.shard.all_reduce(stacked)
            totals = dict(zip(totals, stacked, strict=True))
        return totals

    def _penalties(self, codes: Mapping[int, Code], rows: int) -> Iterator[Weighted]:
        """Yield the sparsity losses of a piece, which are means over its rows."""
        for s, code in codes.items():
            width, share = len(self.layers[s].weights.decoder_bias), code.rows / rows
            if code.penalty is not None:
                yield code.penalty, code.penalty.new_tensor(share * self.layers[s].penalty / width)
            if code.pull is not None:
                yield code.pull, code.pull.new_tensor(share / width)

    def _revive(self, inputs: Mapping[int, Tensor], errors: Mapping[int, Tensor], piece: int) -> None:
        """Let dead features explain what is left over (Gao et al. 2024).

        Without bias and skip, against the error as it is, over that error's variance. Each shard offers its
        share of the features, in proportion to its dead ones.
        """
        if self.config.activation == "jumprelu" or not self.config.auxiliary:
            return  # JumpReLU pulls its silent features by their pre-activations
        dead = {s: layer.silent >= self.dead_after for s, layer in self.layers.items()}
        counts = torch.tensor([int(which.sum()) for which in dead.values()])
        everywhere = counts.clone()
        self.shard.all_reduce(everywhere)
        dead_at, totals = dict(zip(dead, everywhere.tolist(), strict=True)), dict.fromkeys(errors, 0)
        for s, total in dead_at.items():
            for t in self._layers_above(s):
                totals[t] += total
        if not any(totals.values()):
            return
        own = dict(zip(dead, counts.tolist(), strict=True))
        weights = {
            t: self.config.auxiliary
            * min(1.0, totals[t] / (error.shape[1] / 2))
            / (error - error.mean(0)).square().sum()
            for t, error in errors.items()
            if totals[t]
        }
        for first in range(0, len(next(iter(errors.values()))), piece):
            part = slice(first, first + piece)
            parts: dict[Pair, Tensor] = {}
            for s, mine in own.items():
                if mine:
                    k = -(-min(inputs[s].shape[1] // 2, dead_at[s]) * mine // dead_at[s])
                    written = self.layers[s].revived(inputs[s][part], dead[s], k)
                    parts |= {(s, s + above): each for above, each in enumerate(written)}
            empty = {(t, t): torch.zeros_like(errors[t][part]) for t in weights}
            summed = self._summed(empty | {pair: each.detach() for pair, each in parts.items()})
            _send_back(
                [(each, -2 * weights[t] * (errors[t][part] - summed[t])) for (_, t), each in parts.items()]
            )


def _send_back(pairs: list[Weighted]) -> None:
    if pairs:
        torch.autograd.backward([pair[0] for pair in pairs], [pair[1] for pair in pairs])
