"""A model that runs with a dictionary in the place of some of its MLPs, or with their means.

Attribution means the same by replacing: first positions keep the model's own MLP, all others get what the
features write, layer upon layer, without error vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.model import LanguageModel, hooked_output, read_inputs
from pipeline.training.report.layer_metrics import base_of, features_write
from pipeline.transcoders import TranscoderLayer


@contextmanager
def replaced_mlps(
    model: LanguageModel,
    layers: Mapping[int, TranscoderLayer],
    reads: str,
    replaced: Collection[int],
    watch: Callable[[Tensor, Tensor], None] = lambda output, written: None,
) -> Iterator[None]:
    """Let a dictionary write in the place of some layers' MLPs, for as long as the block runs.

    Args:
        model: the model; on leaving, it is as it was.
        layers: the dictionary.
        reads: hook point that its features read.
        replaced: layers whose MLPs do not count.
        watch: called, layer by layer, with what the MLP writes and what the dictionary does.

    """
    written: dict[int, Tensor] = {}

    def write(number: int, inputs: Tensor) -> None:
        layer, inputs = layers[number], inputs.float()
        activations = layer.encode(inputs)
        written[number] = written.get(number, 0) + base_of(layer, inputs)
        for above in range(layer.decoder.shape[1]):
            part = features_write(layer, activations, above)
            written[number + above] = written[number + above] + part if number + above in written else part

    def read(number: int, norm_input: Tensor, norm_output: Tensor) -> None:
        write(number, read_inputs(reads, model.mlp_norm(number), norm_input, norm_output))

    def replace(number: int, _: Tensor, output: Tensor) -> Tensor | None:
        if reads == "hook_mlp_out":
            write(number, output)
        found = written.pop(number)
        watch(output, found)
        return _with_own_opening(model, output, found) if number in replaced else None

    with ExitStack() as stack:
        for number in layers:
            block = model.layers[number]
            if reads != "hook_mlp_out":
                norm = block.get_submodule(model.architecture.mlp_norm)
                stack.enter_context(hooked_output(norm, partial(read, number)))
            stack.enter_context(hooked_output(_writer(model, number), partial(replace, number)))
        yield


@contextmanager
def ablated_mlps(model: LanguageModel, means: Mapping[int, Float[Tensor, " d"]]) -> Iterator[None]:
    """Let every MLP write its mean, for as long as the block runs."""
    with ExitStack() as stack:
        for number, mean in means.items():

            def replace(_: Tensor, output: Tensor, mean: Tensor = mean) -> Tensor:
                return _with_own_opening(model, output, mean.to(output).expand_as(output))

            stack.enter_context(hooked_output(_writer(model, number), replace))
        yield


def _writer(model: LanguageModel, number: int) -> torch.nn.Module:
    architecture = model.architecture
    return model.layers[number].get_submodule(architecture.mlp_output_norm or architecture.mlp)


def _with_own_opening(model: LanguageModel, output: Tensor, found: Tensor) -> Tensor:
    first = model.zero_positions
    return torch.cat([output[:, :first], found[:, first:].to(output)], dim=1)
