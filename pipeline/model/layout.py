"""Layout of layers over devices, for a model and transcoders that need more than one.

Layers stay in order, so that a pass crosses from one device to the next as few times as there are devices;
what is not in a layer (embedding, final norm, unembedding) lies on the first, the model's home, where graphs
are put together too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import KVSharingDict

from pipeline.model.architectures import Architecture
from pipeline.transcoders import Transcoders


def lay_out(
    layer_bytes: Sequence[int], home_bytes: int, devices: Sequence[torch.device]
) -> tuple[torch.device, ...]:
    """Return a device for each layer, so that all devices hold about the same.

    Args:
        layer_bytes: bytes of each layer, its transcoders included.
        home_bytes: bytes that the first device holds besides.
        devices: those that there are, home first.

    """
    share = (sum(layer_bytes) + home_bytes) / len(devices)
    chosen, held = [], home_bytes
    for size in layer_bytes:
        # By its middle: a layer goes where the larger part of it falls.
        chosen.append(devices[min(int((held + size / 2) / share), len(devices) - 1)])
        held += size
    return tuple(chosen)


def module_bytes(module: nn.Module) -> int:
    """Return what a module's weights take."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def device_of_layers(
    model: nn.Module,
    architecture: Architecture,
    transcoders: Transcoders | None,
    devices: Sequence[torch.device],
) -> tuple[torch.device, ...]:
    """Return a device for each layer of a model, counting what its transcoders take there.

    Args:
        model: may be without weights, on the device `meta`.
        architecture: names its layers.
        transcoders: one entry a layer; None where they are the model's own neurons.
        devices: those that there are, home first.

    """
    number = next(model.parameters()).element_size()
    own = [module_bytes(layer) for layer in model.get_submodule(architecture.layers)]
    resident = [0] * len(own)
    if transcoders is not None:
        resident = [number * layer.n_resident for layer in transcoders.layers]
    layer_bytes = [weights + features for weights, features in zip(own, resident, strict=True)]
    return lay_out(layer_bytes, module_bytes(model) - sum(own), devices)


def device_map(
    model: nn.Module, stack: nn.Module, home: torch.device, layers: Sequence[torch.device]
) -> dict[str, torch.device]:
    """Return the device of each layer, and of each module beside the layers, by the module's name.

    Args:
        model: the whole model.
        stack: the list of layers somewhere in it.
        home: device of all that is in no layer.
        layers: device of each layer.

    """
    path = next(name for name, module in model.named_modules() if module is stack)
    placed = {f"{path}.{index}": device for index, device in enumerate(layers)}
    parts = path.split(".")
    for depth, holds_layers in enumerate(parts):
        parent = ".".join(parts[:depth])
        for name, _ in model.get_submodule(parent).named_children():
            if name != holds_layers:
                placed[f"{parent}.{name}".lstrip(".")] = home
    return placed


def spread(
    model: nn.Module, architecture: Architecture, home: torch.device, layers: Sequence[torch.device]
) -> nn.Module:
    """Put a model's layers on their devices and the rest at home; what flows between them is sent on.

    Weights that are already there are not copied.
    """
    stack = model.get_submodule(architecture.layers)
    for layer, device in zip(stack, layers, strict=True):
        layer.to(device)
    name, _, attribute = architecture.layers.rpartition(".")
    setattr(model.get_submodule(name), attribute, nn.Identity())  # or `to` would take them along
    model.to(home)
    setattr(model.get_submodule(name), attribute, stack)
    if set(layers) != {home}:
        for layer, device in zip(stack, layers, strict=True):
            _fetch_inputs(layer, device)
        _fetch_inputs(model.get_submodule(architecture.final_norm), home)
    return model


def _fetch_inputs(module: nn.Module, device: torch.device) -> None:
    module.register_forward_pre_hook(
        lambda _, args, kwargs: (sent(args, device), sent(kwargs, device)), with_kwargs=True
    )


def sent(value: Any, device: torch.device) -> Any:
    """Return a value with the tensors in it on a device."""
    if isinstance(value, Tensor | KVSharingDict):  # what lies in the latter is moved in place
        return value.to(device)
    if isinstance(value, tuple | list):
        return type(value)(sent(item, device) for item in value)
    if isinstance(value, dict):
        return {key: sent(item, device) for key, item in value.items()}
    return value
