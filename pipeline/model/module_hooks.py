"""Replace what modules of a model read and write, for as long as a block of code runs.

A module's activations are its first argument, or the keyword `hidden_states`; where it returns a tuple
its activations are the first entry. On leaving, the model is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let a module compute something else; its hooks still run."""
    # The instance's own, if it has one: `getattr` would find the class's and leave that behind.
    before = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


@contextmanager
def hooked_input(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace a module's first argument."""

    def hook(_module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def hooked_output(module: nn.Module, change: Callable[[Tensor, Tensor], Tensor | None]) -> Iterator[None]:
    """Replace a module's (first) output by a function of what it read and wrote; None keeps it."""

    def hook(_module: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
        wrote = output[0] if isinstance(output, tuple) else output
        changed = change(args[0] if args else kwargs["hidden_states"], wrote)
        if changed is None:
            return None
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = module.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
