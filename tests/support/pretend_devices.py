"""Devices that are not there: tensors in the host's memory that say they are elsewhere and refuse to mix.

What runs here as it does on the CPU, bit for bit, puts every tensor where a GPU would need it: an operation
on tensors of two devices is an error, as it is with real ones, and a copy is a copy. What makes a real device
wait (reading a number from it, a shape that depends on its numbers) can be counted.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as trees
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from pipeline import ReplacementModel

NAME = "pretend"
PROJECTIONS = ("to", "_to_copy", "copy_")
INDEXING = ("index", "index_put_", "_index_put_impl_", "index_put")
"""Operations that take indices in the host's memory, also of a GPU's tensor."""

WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "equal", "bincount")
"""Operations after which the host must wait for the device."""


class PretendTensor(Tensor):
    """A tensor in the host's memory under another device's name."""

    @staticmethod
    def __new__(cls, inner: Tensor, device: torch.device) -> PretendTensor:
        return Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=device,
        )

    def __init__(self, inner: Tensor, device: torch.device) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"{self.inner} on {self.device}"

    def tolist(self) -> Any:
        _waited["tolist"] += 1
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})


_waited: Counter[str] = Counter()


def _run(func: Any, args: tuple, kwargs: dict) -> Any:
    """Run an operation on what the tensors hold, if they are together; its result is there too."""
    flat, spec = trees.tree_flatten((args, kwargs))
    name = func.overloadpacket.__name__
    device = _place(name, args, flat)
    _count(name, flat, device)
    inner_args, inner_kwargs = trees.tree_unflatten([_inner(value) for value in flat], spec)
    result = func(*inner_args, **inner_kwargs)
    if name in PROJECTIONS[:2] and result is inner_args[0]:
        result = args[0] if args[0].device == device else result.clone()
    if device.type != NAME:
        return result
    known = {id(value.inner): value for value in flat if isinstance(value, PretendTensor)}
    return trees.tree_map(lambda value: _wrapped(value, device, known), result)


def _place(name: str, args: tuple, flat: list) -> torch.device:
    """Return where the result goes."""
    named = next((value for value in flat if isinstance(value, torch.device)), None)
    if named is not None:
        return named
    if name == "copy_":
        return args[0].device
    tensors = [value for value in flat if isinstance(value, Tensor)]
    devices = {each.device for each in tensors if each.ndim > 0 or each.device.type == NAME}
    if len(devices) > 1 and not (name in INDEXING and args[0].device.type == NAME and _host_alone(devices)):
        raise RuntimeError(f"{name}: tensors on {', '.join(sorted(map(str, devices)))}")
    return next((each for each in devices if each.type == NAME), torch.device("cpu"))


def _host_alone(devices: set[torch.device]) -> bool:
    return len(devices - {torch.device("cpu")}) == 1


def _count(name: str, flat: list, device: torch.device) -> None:
    tensors = [value for value in flat if isinstance(value, Tensor)]
    if not any(isinstance(each, PretendTensor) for each in tensors):
        return
    masked = name in INDEXING and any(each.dtype == torch.bool for each in tensors[1:])
    if name in WAITING or masked or (name in PROJECTIONS and device.type != NAME):
        _waited[name] += 1


def _inner(value: Any) -> Any:
    if isinstance(value, PretendTensor):
        return value.inner
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value


def _wrapped(value: Any, device: torch.device, known: dict[int, PretendTensor]) -> Any:
    if not isinstance(value, Tensor) or isinstance(value, PretendTensor):
        return value
    if id(value) in known:  # changed in place
        return known[id(value)]
    with torch.inference_mode(False):  # its own bookkeeping of versions cannot be had from here
        return PretendTensor(value, device)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})


class _Factories(TorchFunctionMode):
    """Tensors made from Python's numbers come into being beneath all operations."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.new_tensor:
            like, *args = args
            kwargs = {"dtype": like.dtype, "device": like.device, **kwargs}
            func = torch.tensor
        if func is torch.tensor and "device" in kwargs:
            device = kwargs.pop("device")
            made = func(*args, **kwargs)
            return made if device is None else made.to(device)
        if func is Tensor.__getitem__:
            args = (args[0], _as_tensors(args[1], args[0].device))
        return func(*args, **kwargs)


def _as_tensors(index: Any, device: torch.device) -> Any:
    if isinstance(index, tuple):
        return tuple(_as_tensors(part, device) for part in index)
    return torch.tensor(index).to(device) if isinstance(index, list) else index


@contextmanager
def pretend_devices(count: int) -> Iterator[tuple[torch.device, ...]]:
    """Give so many devices for as long as this lasts."""
    _register()
    with _Operations(), _Factories():
        yield tuple(torch.device(NAME, index) for index in range(count))


@contextmanager
def counted_waits() -> Iterator[Counter[str]]:
    """Count what makes the host wait for a pretended device."""
    _waited.clear()
    yield _waited


@cache
def _register() -> None:
    _setup_privateuseone_for_python_backend(NAME)


def on_devices(model: ReplacementModel, devices: tuple[torch.device, ...]) -> ReplacementModel:
    moved = copy.deepcopy(model.model)
    return ReplacementModel.assemble(
        model.name, moved, model.tokenizer, model.architecture, model.transcoders, devices
    )
