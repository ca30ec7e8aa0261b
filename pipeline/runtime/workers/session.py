"""Ray, started on this machine or joined, quietly, and left again."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError

from pipeline.errors import ConfigurationError
from pipeline.runtime.signals import signals_ignored, termination_interrupts

LOCAL_STORE_BYTES = 128 << 20
"""Object store of a local Ray: shards are small, tables never pass through it."""

CONNECT_SECONDS = 5.0
"""Seconds to wait for a cluster's head to answer."""


@contextmanager
def cluster(address: str | None, cores: int | None = None) -> Iterator[bool]:
    """Start Ray here, or join the cluster at `address` (else at `RAY_ADDRESS`), for as long as this lasts.

    Yields True if it is a Ray of our own on this machine, which then has `cores` cores (default: all).

    Raises:
        ConfigurationError: there is no cluster at that address.

    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    # Newer releases of Ray turn token authentication on by default; a Ray of our own listens on loopback
    # only. A cluster that wants tokens says so in the same variable.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _check_reachable(address)
    if address == "local":
        # It would start a process a core, which no worker of ours can be: each has its own environment.
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    local = {"object_store_memory": LOCAL_STORE_BYTES, "include_dashboard": False, "num_cpus": cores}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **(local if address == "local" else {}),
        )
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        raise _cannot_join(address, error) from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        with termination_interrupts():  # ray.init has put its own handler there, which just exits
            yield address == "local"
    finally:
        with signals_ignored():
            ray.shutdown()


def machines() -> list[dict[str, float]]:
    """Return the resources of the machines that are alive and not about to go."""
    going = draining()
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"] and node["NodeID"] not in going]


def draining() -> set[str]:
    """Return Ray's names of the machines that are about to go: a spot notice, or `ray start` told to end."""
    return set(ray._private.state.state.get_draining_nodes())


def _check_reachable(address: str) -> None:
    """Refuse an address where nobody listens: Ray would try to reach it for many minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise _cannot_join(address, error) from error


def _cannot_join(address: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"no Ray cluster could be joined at {address!r} ({error}): check --address and RAY_ADDRESS, "
        "or leave both out to run on this machine."
    )
