"""What training takes of machines: layers in groups that fit a GPU, GPUs of a gang, hours.

Arithmetic alone, so every number of hours is an estimate and carries its assumption: the FLOPs a second that
a GPU sustains. Per-layer kinds need no gang: the layers are cut into the smallest number of groups whose
state fits, since each group runs the model anew up to its last layer. A cross-layer transcoder is one gang,
its features over the GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from pipeline.errors import ConfigurationError
from pipeline.readable import readable_bytes
from pipeline.training.planning.shape import DictionaryShape

FLOPS_A_PARAMETER = 6
"""FLOPs a token and parameter, forward and backward."""

LEAST_MICRO_BATCH = 512
"""Rows below which a batch is not cut any more to save memory."""

USABLE = 0.95
"""Share of a GPU's memory that is planned with."""


@dataclass(frozen=True)
class Gpu:
    """The GPU that is planned for."""

    bytes: float = 80e9
    flops: float = 300e12
    """FLOPs a second that training sustains: an assumption, about a third of an H100's bfloat16 peak."""


@dataclass(frozen=True)
class TrainedModel:
    """The model whose activations are read."""

    parameters: int
    """Parameters that a token is multiplied by: without embeddings."""

    bytes: float
    """Bytes in memory, as it is run."""

    layers: int


@dataclass(frozen=True)
class Group:
    """Layers that one process trains, or the gang of a cross-layer transcoder."""

    first: int
    layers: int
    bytes_a_gpu: float
    """Planned memory of each GPU, in bytes."""

    micro_batch: int
    """Rows that are multiplied at a time."""

    gpus: int = 1


@dataclass(frozen=True)
class Cost:
    """What training a dictionary takes."""

    shape: DictionaryShape
    groups: tuple[Group, ...]
    tokens_a_second: float
    """Estimate for one GPU that does all the work; of several, each adds as much."""

    gpu_hours: float
    """Estimate, all GPUs together."""

    useful_share: float
    """Share of the FLOPs that goes into the dictionary: the rest runs the model, again for each group."""

    @property
    def gpus(self) -> int:
        """GPUs that work at the same time."""
        return sum(group.gpus for group in self.groups)


def cost_of(
    shape: DictionaryShape,
    model: TrainedModel,
    tokens: int,
    gpu: Gpu,
    *,
    rows: int,
    buffer_rows: int,
    gpus: int | None = None,
    groups: int | None = None,
) -> Cost:
    """Plan the training of a dictionary.

    Args:
        shape: the dictionary.
        model: the model that it is for.
        tokens: tokens to train on.
        gpu: a GPU, its memory and its speed.
        rows: rows of a step.
        buffer_rows: rows of activations that are held for shuffling.
        gpus: GPUs that share a cross-layer transcoder (default: as many as it takes).
        groups: groups that layers are cut into (default: the fewest that fit).

    Raises:
        ConfigurationError: it cannot fit, with the sizes that would.

    """
    planner = _Planner(shape, model, gpu, rows, buffer_rows)
    cut = planner.gang(gpus) if shape.kind == "clt" else planner.groups(groups)
    dictionary = FLOPS_A_PARAMETER * shape.parameters
    forward = sum(2 * model.parameters * (one.first + one.layers) / model.layers for one in cut)
    rate = gpu.flops / (dictionary + forward)
    return Cost(shape, cut, rate, tokens / rate / 3600, dictionary / (dictionary + forward))


def layer_groups(layers: int, groups: int) -> list[tuple[int, int]]:
    """Cut layers into contiguous groups of nearly one size, each as (first, number)."""
    ends = [layers * number // groups for number in range(groups + 1)]
    return [(first, end - first) for first, end in pairwise(ends)]


@dataclass(frozen=True)
class _Planner:
    shape: DictionaryShape
    model: TrainedModel
    gpu: Gpu
    rows: int
    buffer_rows: int

    @property
    def room(self) -> float:
        return USABLE * self.gpu.bytes

    def groups(self, wanted: int | None) -> tuple[Group, ...]:
        """The smallest number of groups that fit, or the one that is wanted.

        Raises:
            ConfigurationError: they do not fit.

        """
        layers = self.shape.layers
        for number in range(1, layers + 1) if wanted is None else [min(wanted, layers)]:
            groups = [self._group(*part) for part in layer_groups(layers, number)]
            if all(group.bytes_a_gpu <= self.room for group in groups):
                return tuple(groups)
        need = max(group.bytes_a_gpu for group in groups)
        many = "one layer takes" if groups[0].layers == 1 else f"{groups[0].layers} layers take"
        raise ConfigurationError(
            f"features is {self.shape.features:,}: {many} {readable_bytes(need)} while trained, and there "
            f"are {readable_bytes(self.gpu.bytes)}: {self._advice_on_features(need)}."
        )

    def _group(self, first: int, layers: int) -> Group:
        part = self.shape.part(layers)
        buffer = (
            self.buffer_rows * layers * 2 * self.shape.d_model * 2
        )  # what is read and written, in bfloat16
        held = part.state_bytes + self.model.bytes * (first + layers) / self.model.layers + buffer
        micro = self._micro_batch(held, self.shape.features)
        return Group(first, layers, held + _activations(micro, self.shape.features), micro)

    def gang(self, gpus: int | None) -> tuple[Group, ...]:
        """The gang of a cross-layer transcoder.

        Raises:
            ConfigurationError: it does not fit `gpus` GPUs, or no number of them.

        """
        shape, rows = self.shape, self.rows
        # Each GPU holds the model, and what all layers read, write and reconstruct in a step, float32.
        fixed = self.model.bytes + 3 * rows * shape.layers * shape.d_model * 4
        fixed += _activations(min(rows, LEAST_MICRO_BATCH), shape.features / 16)
        if fixed >= self.room:
            raise ConfigurationError(
                f"model: it and one step's activations take {readable_bytes(fixed)} of each GPU, which has "
                f"{readable_bytes(self.gpu.bytes)}: use larger GPUs or fewer rows a step."
            )
        needed = -(-shape.state_bytes // int(self.room - fixed))
        if gpus is not None and needed > gpus:
            raise ConfigurationError(self._does_not_fit(needed, gpus, self.room - fixed))
        number = gpus or needed
        return (Group(0, shape.layers, fixed + shape.state_bytes / number, rows, number),)

    def _does_not_fit(self, needed: int, gpus: int, room: float) -> str:
        shape = self.shape
        there = gpus * room
        features = _round_down(int(shape.features * there / shape.state_bytes))
        reach = next(
            (r for r in range(shape.layers - 1, -1, -1) if self._reaching(r).state_bytes <= there), None
        )
        ways = [f"features: {features:,}"] if features else []
        if reach is not None:
            ways.append(f"cross_layer: {reach} ({readable_bytes(self._reaching(reach).state_bytes)})")
        ways.append(f"{needed} GPUs of {readable_bytes(self.gpu.bytes)} in one machine")
        return (
            f"a cross-layer transcoder with features {shape.features:,} has "
            f"{shape.parameters / 1e9:.1f} billion parameters and a state of "
            f"{readable_bytes(shape.state_bytes)}; {gpus} GPUs of {readable_bytes(self.gpu.bytes)} hold "
            f"{readable_bytes(there)} of it. What would fit: {', or '.join(ways)}."
        )

    def _reaching(self, cross_layer: int) -> DictionaryShape:
        shape = self.shape
        return DictionaryShape("clt", shape.layers, shape.d_model, shape.features, cross_layer)

    def _micro_batch(self, held: float, features: int) -> int:
        micro = self.rows
        while micro > LEAST_MICRO_BATCH and held + _activations(micro, features) > self.room:
            micro //= 2
        return micro

    def _advice_on_features(self, need: float) -> str:
        features = _round_down(int(self.shape.features * self.room / need))
        return f"features: {features:,} would fit" if features else "use larger GPUs"


def _activations(rows: int, features: float) -> float:
    """Bytes of pre-activations, activations and their gradients, float32."""
    return 3 * rows * features * 4


def _round_down(features: int) -> int:
    """The largest power of two, or three quarters of one, that is not more."""
    if features < 2:
        return 0
    power = 1 << (features.bit_length() - 1)
    return power + power // 2 if features >= power + power // 2 else power
