"""The trainer: a group of layers that read the same rows, a step at a time.

Layers of per-layer dictionaries share nothing but the rows: a group gives the same bits as its layers alone.
A cross-layer dictionary is one group of all layers, whose features may be spread over processes
(`FeatureShard`): each decodes its own, one sum over the processes gives the reconstruction, and from there on
every gradient is local. What belongs to a layer and not to a feature, bias and skip path, every process has.

Legend: s layer that is read, t layer that is written to.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.errors import TrainingError
from pipeline.training.batch_gradients import BatchGradients
from pipeline.training.config import DictionaryConfig
from pipeline.training.data import Rows
from pipeline.training.feature_shard import WHOLE, FeatureShard
from pipeline.training.lack_of_memory import is_lack_of_memory
from pipeline.training.recipe import (
    LayerWeights,
    Normalisation,
    Schedule,
    Seen,
    TrainedLayer,
    first_weights,
)
from pipeline.training.step_report import LayerStep, StepReport
from pipeline.training.training_state import TrainingState, check_continues, decays

log = logging.getLogger(__name__)

CLIP = 1.0
"""Largest norm of a gradient: of a layer, or of all layers and shards of a cross-layer dictionary."""

JUMP = 10.0
"""A loss this many times its mean stops the training."""

CALM = 100
"""Steps before a mean loss says something."""


@dataclass
class LayerGroup:
    """Layers in training."""

    config: DictionaryConfig
    schedule: Schedule
    layers: dict[int, TrainedLayer]
    shard: FeatureShard
    piece: int
    """Rows that are worked on at once; fewer after memory was used up."""

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
            # Those of a start may be laid out otherwise, which files do not keep, and sums round otherwise.
            moved = LayerWeights.of(
                {name: tensor.to(device).contiguous() for name, tensor in weights.named().items()}
            )
            layers[layer] = TrainedLayer.of(moved, normalisation, config.activation)
        return cls(config, Schedule.of(config), layers, shard, config.piece)

    @property
    def done(self) -> bool:
        """True after the last step of every layer."""
        return not self.training

    @property
    def training(self) -> dict[int, TrainedLayer]:
        """The layers that have steps left."""
        ends = {s: self.schedule.end_of(self.decay_of(s)) for s in self.layers}
        return {s: layer for s, layer in self.layers.items() if self.step_number < ends[s]}

    def decay_of(self, layer: int) -> int:
        """Return the first step at which a layer's learning rate falls, as far as it is known by now."""
        return self._decays()[layer]

    @property
    def is_before_decay(self) -> bool:
        """True where the next step is the first at which some layer's learning rate falls."""
        return self.step_number == min(self._decays().values())

    @property
    def is_watched(self) -> bool:
        """True where held-out rows are measured before the next step."""
        return (
            self.config.stop_at_plateau
            and not self.done
            and self.schedule.is_watched(self.step_number)
            and self.step_number < max(self._decays().values())
        )

    def _decays(self) -> dict[int, int]:
        return decays(self.config, self.schedule, {s: layer.held_out for s, layer in self.layers.items()})

    def step(self, rows: Rows) -> StepReport:
        """Train on the rows of one step.

        Raises:
            TrainingError: a loss is not a number, or far from its mean, or not even one row fits the memory;
                nothing was changed.

        """
        step, k = self.step_number, self.schedule.active(self.step_number)
        losses, seen = self._gradients(rows, k)
        try:
            self._check(losses)
        except TrainingError:
            self._forget()
            raise
        rates = self._update(step)
        report = self._observe(step, k, rates, seen, losses)
        self.step_number += 1
        return report

    def _gradients(self, rows: Rows, k: int) -> tuple[dict[int, float], dict[int, Seen]]:
        """Compute the gradients, in smaller pieces where the memory is too small for the pieces so far."""
        gradients = BatchGradients(self.config, self.training, self.shard, self.schedule.dead_after)
        while True:
            try:
                return gradients.add(rows, k, self.piece)
            except (RuntimeError, MemoryError) as error:
                self._forget()
                # The others of a gang wait for this one's sums: they cannot be told to begin again.
                if not is_lack_of_memory(error) or self.shard.size > 1:
                    raise
            if self.piece == 1:
                raise TrainingError(
                    f"the memory is too small for step {self.step_number} even with micro_batch 1: the state "
                    "before this step is kept. Take a larger machine, or fewer layers together (groups)."
                )
            self.piece = -(-self.piece // 2)
            told = "memory is used up at step %d: from now on %d tokens at a time; the sums are the same"
            log.warning(told, self.step_number, self.piece)

    def _forget(self) -> None:
        """Drop gradients that are not to count."""
        for layer in self.layers.values():
            for tensor in layer.weights.named().values():
                tensor.grad = None

    def watch(self, passes: Iterable[Rows]) -> None:
        """Measure held-out rows, which decides when a layer's learning rate falls.

        Args:
            passes: their rows, in parts.

        """
        decays = self._decays()
        watched = {s: layer for s, layer in self.layers.items() if self.step_number < decays[s]}
        gradients = BatchGradients(self.config, watched, self.shard, self.schedule.dead_after)
        for s, fvu in gradients.fvu(passes, self.schedule.active(self.step_number)).items():
            watched[s].held_out.append((self.step_number, fvu))

    def _check(self, losses: Mapping[int, float]) -> None:
        for t, loss in losses.items():
            mean = self.layers[t].mean_loss
            if not loss < float("inf") or (self.step_number > CALM and loss > JUMP * mean):
                raise TrainingError(
                    f"layer {t}, step {self.step_number}: the loss is {loss:.3g}, and was {mean:.3g} on "
                    "average: the state before this step is kept. If the model's activations are finite, "
                    "lower learning_rate; if they are not, run the model in float32 (model_dtype)."
                )

    @torch.no_grad()
    def _update(self, step: int) -> dict[int, float]:
        """Take a step of the optimiser, and return each layer's learning rate."""
        training, decays = self.training, self._decays()
        rates = {s: self.schedule.rate(step, decays[s]) for s in training}
        betas = (0.0 if self.config.activation == "jumprelu" else 0.9, 0.999)
        units = [list(training)] if self.config.kind == "clt" else [[s] for s in training]
        norms = torch.stack([self._squared_norm(unit) for unit in units])
        self.shard.all_reduce(norms[:, 0])
        for unit, norm in zip(units, norms.sum(1).sqrt().tolist(), strict=True):
            for s in unit:
                self.layers[s].update(step, rates[s], min(1.0, CLIP / max(norm, 1e-30)), betas)
        return rates

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
        self,
        step: int,
        k: int,
        rates: Mapping[int, float],
        seen: Mapping[int, Seen],
        losses: Mapping[int, float],
    ) -> StepReport:
        rows = self.config.batch_size
        dead = {s: int((self.layers[s].silent >= self.schedule.dead_after).sum()) for s in seen}
        counts = torch.tensor([[of_layer.count, dead[s]] for s, of_layer in seen.items()])
        self.shard.all_reduce(counts)
        steps = []
        for (s, of_layer), (active, silent) in zip(seen.items(), counts.tolist(), strict=True):
            layer, l0 = self.layers[s], active / rows
            layer.observe(of_layer, rows, l0, k, losses[s])
            steps.append(LayerStep(s, rates[s], losses[s], l0, silent, layer.threshold))
        return StepReport(step, k, tuple(steps))

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
            "micro_batch": self.piece,
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
        then = state.info["config"]["micro_batch"]
        # As small as the memory has made it, unless somebody has set another one since.
        piece = state.info["micro_batch"] if then == config.micro_batch else config.piece
        return cls(config, schedule, layers, shard, piece, state.info["step"])
