"""A Ray head as a person starts one, with ports and a folder of its own, stopped with all that it began."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

PORTS = (
    "port",
    "dashboard-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
    "ray-client-server-port",
    "node-manager-port",
    "object-manager-port",
)


@dataclass(frozen=True)
class RayHead:
    """A head that is up."""

    url: str
    """Where it takes jobs."""

    environment: Mapping[str, str]
    """What a process needs to be let in, and to find that the head is on the same machine."""


@contextmanager
def ray_head(with_token: bool) -> Iterator[RayHead]:
    """A head of two cores, whose jobs run in this Python."""
    # Ray's sockets lie below its folder, and their paths may have 107 characters: a test's own is too long.
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        yield from _ray_head(Path(folder), with_token)


def _ray_head(folder: Path, with_token: bool) -> Iterator[RayHead]:
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex()} if with_token else {}
    environment = {"RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": str(folder), **auth}
    head = subprocess.Popen(
        [
            *(Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--num-cpus=2"),
            *("--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--disable-usage-stats"),
            *(f"--temp-dir={folder / 'ray'}", f"--object-store-memory={80 << 20}"),
            *(f"--{name}={port}" for name, port in ports.items()),
        ],
        env=_head_environment() | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        url = f"http://127.0.0.1:{ports['dashboard-port']}"
        _wait_until_up(head, url, environment)
        yield RayHead(url, environment)
    finally:
        head.terminate()  # with --block it takes its children along
        head.wait(60)


def _head_environment() -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "PYTHONPATH")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{ours['PATH']}"
    return {**ours, "PATH": path, "HF_HUB_OFFLINE": "1", "RAY_JOB_STOP_WAIT_TIME_S": "60"}


def _wait_until_up(head: subprocess.Popen[bytes], url: str, environment: Mapping[str, str]) -> None:
    headers = {"Authorization": f"Bearer {environment.get('RAY_AUTH_TOKEN', '')}"}
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert head.poll() is None, "the head did not start"
        try:
            if requests.get(f"{url}/api/jobs/", headers=headers, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    raise AssertionError(f"nobody answers at {url}")


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now: taken together, so that they differ, then given back."""
    with ExitStack() as taken:
        servers = [taken.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]
