"""Find the circuits of a sweep's groups, or return those that were found already."""

from __future__ import annotations

from pipeline.aggregates import Grouping, run_aggregate
from pipeline.circuits.discovery import Discovery
from pipeline.circuits.settings import Settings
from pipeline.store import AggregateResult


def discover(url: str, grouping: Grouping, settings: Settings, address: str | None = None) -> AggregateResult:
    """Find circuits in the discovery half of a sweep's prompts.

    Args:
        url: the sweep's output.
        grouping: the groups of prompts that circuits are of.
        settings: the rules.
        address: Ray cluster to join; None for `RAY_ADDRESS`, or else a Ray on this machine.

    Raises:
        CircuitSweepError: there is no sweep, the settings do not fit it, or the result cannot be written.

    """
    return run_aggregate(url, Discovery(grouping, settings), address)
