"""The trainer: a group of layers that read the same rows, a step at a time.

Layers of per-layer dictionaries share nothing but the rows: a group gives the same bits as its layers alone.
A cross-layer dictionary is one group of all layers, whose features may be spread over processes
(`FeatureShard`): each decodes its own, one sum over the processes gives the reconstruction, and from there on
every gradient is local. What belongs to a layer and not to a feature, bias and skip path, every process has.

Legend: B rows, d width, s layer that is read, t layer that is written to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.errors import TrainingError
from pipeline.training.config import DictionaryConfig
from pipeline.training.data import Rows
from pipeline.training.feature_shard import WHOLE, FeatureShard
from pipeline.training.recipe import Code, LayerWeights, Normalisation, Schedule, TrainedLayer, first_weights
from pipeline.training.step_report import LayerStep, StepReport
from pipeline.training.training_state import TrainingState, check_continues

CLIP = 1.0
"""Largest norm of a gradient: of a layer, or of all layers and shards of a cross-layer dictionary."""

JUMP = 10.0
"""A loss this many times its mean stops the training."""

CALM = 100
"""Steps before a mean loss says something."""

Pair = tuple[int, int]
"""Layer that is read, layer that is written to."""


@dataclass
class LayerGroup:
    """Layers in training."""

    config: DictionaryConfig
    schedule: Schedule
    layers: dict[int, TrainedLayer]
    shard: FeatureShard = WHOLE
    step_number: int = 0
    """Steps that were done."""

    @classmethod
    def begin(
        cls,
        config: DictionaryConfig,
        n_layers: int,
        normalisations: Mapping[int, Normalisation],
        shard: FeatureShard = WHOLE,
        start: Mapping[int, LayerWeights] | None = None,
        device: torch.device | str = "cpu",
    ) -> LayerGroup:
        """Return a group that was not trained yet.

        Args:
            config: of the dictionary.
            n_layers: layers of the model.
            normalisations: of each layer of the group.
            shard: this process among those that share the features.
            start: weights to start from, of this shard's features; by default random ones.
            device: device to train on.

        Raises:
            ConfigurationError: features cannot be shared evenly.

        """
        features = shard.features(config.features)
        layers = {}
        for layer, normalisation in normalisations.items():
            weights = (
                first_weights(config, layer, n_layers, features, normalisation)
                if start is None
                else start[layer]
            )
            moved = LayerWeights.of({name: tensor.to(device) for name, tensor in weights.named().items()})
            layers[layer] = TrainedLayer.of(moved, normalisation, config.activation)
        return cls(config, Schedule.of(config), layers, shard)

    @property
    def done(self) -> bool:
        """True after the last step."""
        return self.step_number >= self.schedule.steps

    def step(self, rows: Rows) -> StepReport:
        """Train on the rows of one step.

        Raises:
            TrainingError: a loss is not a number, or far from its mean; nothing was changed.

        """
        step, k = self.step_number, self.schedule.active(self.step_number)
        inputs = {s: layer.normalisation.inputs(rows[s].inputs) for s, layer in self.layers.items()}
        targets = {s: layer.normalisation.outputs(rows[s].outputs) for s, layer in self.layers.items()}
        codes = {s: layer.encode(inputs[s], k, self.shard) for s, layer in self.layers.items()}
        bases = {s: layer.base(inputs[s]) for s, layer in self.layers.items()}
        parts = {(s, t): codes[s].decode(t - s) for s in self.layers for t in self._written(s)}
        errors = self._errors(targets, bases, parts)
        losses = {t: float(error.square().mean()) for t, error in errors.items()}
        self._check(losses)
        gradients = {t: error * (-2 / error.numel()) for t, error in errors.items()}
        pairs = [(part, gradients[t]) for (_, t), part in parts.items()]
        pairs += [(base, gradients[t]) for t, base in bases.items() if base.requires_grad]
        pairs += self._penalties(codes)
        pairs += self._auxiliary(inputs, errors)
        torch.autograd.backward([pair[0] for pair in pairs], [pair[1] for pair in pairs])
        self._update(step)
        report = self._observe(step, k, codes, losses)
        self.step_number += 1
        return report

    def _written(self, layer: int) -> range:
        return range(layer, layer + len(self.layers[layer].weights.decoders))

    def _errors(
        self,
        targets: Mapping[int, Tensor],
        bases: Mapping[int, Tensor],
        parts: Mapping[tuple[int, int], Tensor],
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

    def _check(self, losses: Mapping[int, float]) -> None:
        for t, loss in losses.items():
            mean = self.layers[t].mean_loss
            if not loss < float("inf") or (self.step_number > CALM and loss > JUMP * mean):
                raise TrainingError(
                    f"layer {t}, step {self.step_number}: the loss is {loss:.3g}, and was {mean:.3g} on "
                    "average: the state before this step is kept. If the model's activations are finite, "
                    "lower learning_rate; if they are not, run the model in float32 (model_dtype)."
                )

    def _penalties(self, codes: Mapping[int, Code]) -> list[tuple[Tensor, Tensor]]:
        pairs = []
        for s, code in codes.items():
            width = len(self.layers[s].weights.decoder_bias)
            if code.penalty is not None:
                pairs.append((code.penalty, code.penalty.new_tensor(self.layers[s].penalty / width)))
            if code.pull is not None:
                pairs.append((code.pull, code.pull.new_tensor(1 / width)))
        return pairs

    def _auxiliary(
        self, inputs: Mapping[int, Tensor], errors: Mapping[int, Tensor]
    ) -> list[tuple[Tensor, Tensor]]:
        """Let dead features explain what is left over (Gao et al. 2024).

        Without bias and skip, against the error as it is, over that error's variance. Each shard offers its
        share of the features, in proportion to its dead ones.
        """
        if self.config.activation == "jumprelu" or not self.config.auxiliary:
            return []  # JumpReLU pulls its silent features by their pre-activations
        dead = {s: layer.silent >= self.schedule.dead_after for s, layer in self.layers.items()}
        counts = torch.tensor([int(which.sum()) for which in dead.values()])
        everywhere = counts.clone()
        self.shard.all_reduce(everywhere)
        parts, totals = {}, dict.fromkeys(errors, 0)
        for s, mine, total in zip(dead, counts.tolist(), everywhere.tolist(), strict=True):
            if not total:
                continue
            for t in self._written(s):
                totals[t] += total
            k = -(-min(inputs[s].shape[1] // 2, total) * mine // total)
            if mine:
                written = self.layers[s].revived(inputs[s], dead[s], k)
                parts |= {(s, s + above): part for above, part in enumerate(written)}
        if not any(totals.values()):
            return []
        empty = {(t, t): torch.zeros_like(errors[t]) for t in errors if totals[t]}
        summed = self._summed(empty | {pair: part.detach() for pair, part in parts.items()})
        pairs = []
        for (_, t), part in parts.items():
            error, half = errors[t], errors[t].shape[1] / 2
            variance = (error - error.mean(0)).square().sum()
            weight = self.config.auxiliary * min(1.0, totals[t] / half) / variance
            pairs.append((part, -2 * weight * (error - summed[t])))
        return pairs

    @torch.no_grad()
    def _update(self, step: int) -> None:
        rate = self.schedule.rate(step)
        betas = (0.0 if self.config.activation == "jumprelu" else 0.9, 0.999)
        units = [list(self.layers)] if self.config.kind == "clt" else [[s] for s in self.layers]
        norms = torch.stack([self._squared_norm(unit) for unit in units])
        self.shard.all_reduce(norms[:, 0])
        for unit, norm in zip(units, norms.sum(1).sqrt().tolist(), strict=True):
            for s in unit:
                self.layers[s].update(step, rate, min(1.0, CLIP / max(norm, 1e-30)), betas)

    def _squared_norm(self, unit: list[int]) -> Float[Tensor, 2]:
        """Return the gradient's squared norm: of this shard's features, and of what all shards have."""
        own, shared = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for s in unit:
            weights = self.layers[s].weights
            in_all = {id(tensor) for tensor in weights.shared()}
            for tensor in weights.named().values():
                square = tensor.grad.square().sum(dtype=torch.float64).cpu()
                if id(tensor) in in_all:
                    shared += square
                else:
                    own += square
        return torch.stack([own, shared])

    def _observe(
        self, step: int, k: int, codes: Mapping[int, Code], losses: Mapping[int, float]
    ) -> StepReport:
        seen = []
        rows = self.config.batch_size
        counts = torch.tensor(
            [
                [code.count(), int((self.layers[s].silent >= self.schedule.dead_after).sum())]
                for s, code in codes.items()
            ]
        )
        self.shard.all_reduce(counts)
        for (s, code), (active, dead) in zip(codes.items(), counts.tolist(), strict=True):
            layer, l0 = self.layers[s], active / rows
            layer.observe(code, rows, l0, k, losses[s])
            seen.append(LayerStep(s, losses[s], l0, dead, layer.threshold))
        return StepReport(step, self.schedule.rate(step), k, tuple(seen))

    def state(self) -> TrainingState:
        """Return all that is needed to go on."""
        tensors = {
            f"{s}.{name}": tensor.detach().cpu().clone()
            for s, layer in self.layers.items()
            for name, tensor in layer.tensors().items()
        }
        info = {
            "config": self.config.model_dump(mode="json"),
            "schedule": self.schedule.as_dict(),
            "step": self.step_number,
            "layers": {str(s): layer.numbers() for s, layer in self.layers.items()},
            "shard": [self.shard.rank, self.shard.size],
        }
        return TrainingState(tensors, info)

    @classmethod
    def resume(
        cls,
        config: DictionaryConfig,
        state: TrainingState,
        shard: FeatureShard = WHOLE,
        device: torch.device | str = "cpu",
    ) -> LayerGroup:
        """Return the group that a state describes, to go on with.

        Args:
            config: of the dictionary; only `tokens` may differ from the state's, as long as the learning rate
                has not begun to fall.
            state: what `state` gave.
            shard: this process; of the same number as then.
            device: device to train on.

        Raises:
            TrainingError: the state is of another training, with the difference.

        """
        schedule = check_continues(config, state, shard)
        layers = {}
        for name, numbers in state.info["layers"].items():
            prefix = f"{name}."
            tensors = {n.removeprefix(prefix): t for n, t in state.tensors.items() if n.startswith(prefix)}
            layers[int(name)] = TrainedLayer.restored(
                tensors, numbers, config.activation, torch.device(device)
            )
        return cls(config, schedule, layers, shard, state.info["step"])
