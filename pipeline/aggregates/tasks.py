"""Functions as tasks on Ray, which is joined (or started here) when the first of them is called.

Arguments and results wait in Ray's object store, which spills to disk. A task depends on its arguments only,
so Ray runs it again where a machine goes away; what a first try wrote is in no manifest and does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import ray
from ray.exceptions import RayTaskError

from pipeline.errors import CircuitSweepError
from pipeline.runtime import cluster


class Tasks:
    """Context in which functions run as tasks on a Ray cluster."""

    def __init__(self, address: str | None) -> None:
        """Take the cluster's address; None for `RAY_ADDRESS`, or else a Ray on this machine."""
        self._address = address
        self._joined: ExitStack | None = None

    def __enter__(self) -> Tasks:
        return self

    def __exit__(self, *error: object) -> None:
        if self._joined is not None:
            self._joined.__exit__(*error)

    def share(self, value: Any) -> ray.ObjectRef:
        """Put a value where many tasks can read it without a copy each."""
        self._join()
        return ray.put(value)

    def call(self, function: Callable[..., Any], *arguments: Any) -> ray.ObjectRef:
        """Start a task; what other tasks return may be among its arguments."""
        self._join()
        return _call.remote(function, *arguments)

    def call_for(self, count: int, function: Callable[..., Sequence], *arguments: Any) -> list[ray.ObjectRef]:
        """Start a task that returns `count` values, each to be passed on by itself."""
        self._join()
        if count == 1:
            return [_call_for_one.remote(function, *arguments)]
        return _call.options(num_returns=count).remote(function, *arguments)

    def get(self, results: Any) -> Any:
        """Wait for a result or a list of them.

        Raises:
            CircuitSweepError: a task met a user's mistake.

        """
        self._join()  # or Ray would start by itself, with doors open, where there is nothing to wait for
        try:
            return ray.get(results)
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, CircuitSweepError) else error from error

    def _join(self) -> None:
        if self._joined is None:
            # Kept once it is joined: where joining fails, the stack closes what was opened so far.
            with ExitStack() as stack:
                stack.enter_context(cluster(self._address))
                self._joined = stack.pop_all()


@ray.remote(num_cpus=1)
def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


@ray.remote(num_cpus=1)
def _call_for_one(function: Callable[..., Sequence], *arguments: Any) -> Any:
    (only,) = function(*arguments)  # with one return value Ray would keep the list itself
    return only
