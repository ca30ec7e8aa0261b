"""Estimate what a sweep will take, from a sample of its prompts, without running it.

Reads and tokenises every prompt, traces a few here as a worker would, and prints features, rows, time,
memory and output of the whole sweep with the sampling spread. Writes nothing. Exit codes: 0, or 2 where
`circuit-sweep run` could not start either (a message says why).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.cli import run_command
from jobs.run import SweepArguments, read_arguments

if TYPE_CHECKING:
    from pipeline.planning import Estimate
    from pipeline.sweep import SweepPlan


Row = tuple[str, str, str, str]
"""Name, per prompt, whole sweep, spread."""


@dataclass(frozen=True)
class Arguments(SweepArguments):
    """Words of the command line."""

    sample: int = 8
    """Prompts to trace."""

    seed: int = 0
    """Which ones: another seed draws others."""


def main(argv: list[str] | None = None) -> int:
    """Print the plan of a sweep and return 0."""
    arguments, config = read_arguments(Arguments, argv, "plan", __doc__)

    from pipeline.errors import ConfigurationError
    from pipeline.sweep import plan_sweep

    if arguments.sample < 1:
        raise ConfigurationError(f"--sample is {arguments.sample}; it must be at least 1.")
    plan = plan_sweep(config, arguments.sample, arguments.seed)
    if plan is None:
        print(f"nothing is left to trace: {config.output} holds every prompt of {config.prompts.source}.")
    else:
        print_plan(plan)
    return 0


def print_plan(plan: SweepPlan) -> None:
    """Print a plan as one table, and below it what it rests on."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in ("", "per prompt", "whole sweep", "spread"):
        table.add_column(name, justify="left" if name == "" else "right")
    for row in (*_sums(plan), *_figures(plan)):
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(table)
    for remark in _remarks(plan):
        console.print(remark, markup=False)


def _sums(plan: SweepPlan) -> list[Row]:
    from jobs._summary import readable_bytes

    found = plan.forecast
    return [
        ("prompts to trace", "", f"{plan.counts.count:,}", ""),
        _sum("active features", found.active, lambda value: f"{value:,.0f}"),
        _sum("rows", found.rows, lambda value: f"{value:,.0f}"),
        _sum("output", found.output_bytes, readable_bytes),
        _sum("seconds of one replica", found.seconds, lambda value: f"{value:,.3g}"),
    ]


def _sum(name: str, estimate: Estimate, show: Callable[[float], str]) -> Row:
    return name, show(estimate.mean), show(estimate.total), f"±{estimate.spread:.0%}"


def _figures(plan: SweepPlan) -> list[Row]:
    from jobs._summary import readable_bytes

    found, replicas = plan.forecast, max(1, plan.placement.replicas)
    device = "device and host" if plan.device == "cpu" else "device"
    figures = [
        (
            f"time on {replicas} replica{'s' * (replicas > 1)}",
            "",
            _hours(found.hours(replicas) + plan.load_seconds / 3600),
            f"±{found.seconds.spread:.0%}",
        ),
        (f"peak memory, {device}", "", readable_bytes(found.device_bytes), ""),
    ]
    if plan.device != "cpu":
        figures.append(("peak memory, host", "", readable_bytes(found.host_bytes), ""))
    return [*figures, ("block size, pairs", "", f"{plan.block_pairs:,}", "")]


def _hours(hours: float) -> str:
    """Write hours so that short sweeps can be read too."""
    from pipeline.runtime.telemetry import clock

    return f"{hours:,.1f} h" if hours >= 1 else clock(hours * 3600)


def _remarks(plan: SweepPlan) -> list[str]:
    counts, samples = plan.counts, plan.samples
    phases = Counter()
    for sample in samples:
        phases.update(sample.seconds)
    means = ", ".join(f"{name} {seconds / len(samples):.3f}" for name, seconds in phases.items())
    cores = f"{plan.placement.cores} core{'s' * (plan.placement.cores > 1)}"
    remarks = [
        f"From {len(samples)} traced prompts of {min(s.sizes.positions for s in samples)} to "
        f"{max(s.sizes.positions for s in samples)} positions; the longest of all has "
        f"{plan.forecast.longest}. Seconds a prompt by phase: {means}.",
        f"Spread: two standard errors of the sample. Time is for replicas of {cores} that do not slow each "
        f"other, with {plan.load_seconds:.0f} s to load the model; starting Ray takes some seconds more.",
    ]
    if counts.repeated or counts.rejected:
        remarks.append(
            f"Not to trace: {counts.repeated:,} repeated prompts, {counts.rejected:,} that cannot be traced."
        )
    return [*remarks, *(f"Could not be traced: {failure}" for failure in plan.failures)]


if __name__ == "__main__":
    raise SystemExit(run_command(main))
