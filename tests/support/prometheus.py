"""Prometheus' view of a cluster of one machine: its endpoint, scraped while work is done."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.request import urlopen

import ray

from tests.support.sweeps import wait_for


def scraped(while_true: Callable[[], bool]) -> str:
    """Return all pages of the endpoint, read for as long as a condition holds."""
    wait_for(ray.is_initialized)
    (node,) = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    pages = []
    while while_true():
        time.sleep(0.5)
        with suppress(OSError):  # the endpoint comes up with the node's agent
            pages.append(urlopen(address, timeout=5).read().decode())
    return "\n".join(pages)


def highest(page: str, name: str, /, **labels: str) -> float:
    """Return the highest value that a series of ours had."""
    found = [
        float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if re.match(rf"ray_circuit_sweep_{name}\b", line)
        and all(f'{key}="{value}"' in line for key, value in labels.items())
    ]
    return max(found, default=0.0)
