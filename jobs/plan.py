"""Estimate what a sweep, or the training of a dictionary, will take, without running it.

Reads and tokenises every prompt, traces a few here as a worker would, and prints features, rows, time,
memory and output of the whole sweep with the sampling spread. Writes nothing. Exit codes: 0, or 2 where
`circuit-sweep run` could not start either (a message says why).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from jobs._command_line import parse
from jobs._tables import Format, TableOptions, write_rows
from jobs._training import names_dictionary, plan_rows
from jobs._training import print_plan as print_training_plan
from jobs.cli import run_command
from jobs.run import SweepArguments, read_arguments
from jobs.train import DictionaryArguments, read_dictionary
from pipeline.readable import clock, readable_bytes

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.planning import Estimate
    from pipeline.sweep import SweepPlan
    from pipeline.training.distributed import TrainingSizes
    from pipeline.training.planning import Cost

STEPS = 3
"""Steps of a training that are taken to measure its speed."""

QUICK_SECONDS = 60.0
"""Longest that this may take, by the arithmetic, unless more was asked for."""


@dataclass(frozen=True)
class Figure:
    """One row of a plan."""

    name: str
    unit: str
    total: float
    """Of the whole sweep."""

    show: Callable[[float], str] = "{:,.0f}".format
    """Formatter of a number of this unit."""

    per_prompt: float | None = None
    spread: float | None = None
    """Two standard errors of the total, as a share of it; None for what is no estimate."""


@dataclass(frozen=True)
class Arguments(SweepArguments):
    """Arguments of the command line."""

    sample: int = 8
    """Prompts to trace."""

    seed: int = 0
    """Seed of the draw: another one draws other prompts."""

    format: Format | None = None
    """Format of the plan (default: a table with remarks). `--output` is the sweep's, as in `run`."""


def main(argv: list[str] | None = None) -> int:
    """Print the plan of a sweep, or of a training where the file is a dictionary's, and return 0."""
    if names_dictionary(sys.argv[1:] if argv is None else argv):
        return _plan_training(argv)
    arguments, config = read_arguments(Arguments, argv, "plan", __doc__)

    from pipeline.errors import ConfigurationError
    from pipeline.sweep import plan_sweep

    if arguments.sample < 1:
        raise ConfigurationError(f"--sample is {arguments.sample}; it must be at least 1.")
    plan = plan_sweep(config, arguments.sample, arguments.seed)
    if plan is None:
        print(f"nothing is left to trace: {config.output} holds every prompt of {config.prompts.source}.")
    elif arguments.format is not None:
        write_rows(_as_rows(plan), TableOptions(arguments.format))
    else:
        print_plan(plan)
    return 0


@dataclass(frozen=True)
class TrainingArguments(DictionaryArguments):
    """Arguments where the file is a dictionary's."""

    steps: int | None = None
    """Steps to take here, of the largest group, to measure the speed (default: three if that takes less than
    a minute; else 0, and the speed is taken from that of plain products of matrices)."""

    gpu_bytes: float | None = None
    """Memory of a GPU to plan for (default: this machine's GPU, or without one its memory)."""

    gpu_flops: float | None = None
    """FLOPs a second that it sustains (default: 0.6 of what products of matrices reach here)."""

    format: Format | None = None
    """Format of the plan (default: a table)."""


def _plan_training(argv: list[str] | None) -> int:
    arguments = parse(TrainingArguments, argv, "plan", __doc__)

    from pipeline.errors import ConfigurationError
    from pipeline.training.distributed import located, machine_here, measure_speed, sizes_of
    from pipeline.untrusted import Console

    sizes = sizes_of(located(read_dictionary(arguments)))
    gpu = machine_here()
    gpu = replace(gpu, bytes=arguments.gpu_bytes or gpu.bytes, flops=arguments.gpu_flops or gpu.flops)
    cost = sizes.cost(gpu)
    steps = _steps_to_take(arguments, sizes, cost) if arguments.steps is None else arguments.steps
    measured = None
    if steps:
        if sizes.config.shards > 1:
            raise ConfigurationError(
                "--steps measures one process, and `shards` asks for several: leave it out."
            )
        largest = max(sizes.units(cost), key=lambda unit: len(unit.layers))
        measured = measure_speed(sizes.config, largest, steps)
    rows = plan_rows(sizes, cost, gpu, measured)
    import pyarrow as pa

    if arguments.format is not None:
        write_rows(pa.Table.from_pylist(rows), TableOptions(arguments.format))
    else:
        print_training_plan(Console(highlight=False), rows)
    return 0


def _steps_to_take(arguments: TrainingArguments, sizes: TrainingSizes, cost: Cost) -> int:
    """Return how many steps are quickly taken on this machine, if it is the one that is planned for."""
    config = sizes.config
    if arguments.gpu_bytes or arguments.gpu_flops or config.shards > 1:
        return 0
    rows = config.buffer + (STEPS + 1) * config.batch_size
    return STEPS if rows / cost.tokens_a_second < QUICK_SECONDS else 0


def print_plan(plan: SweepPlan) -> None:
    """Print a plan as one table, and below it what it rests on."""
    from rich.table import Table

    from pipeline.untrusted import Console

    table = Table()
    for name in ("", "per prompt", "whole sweep", "spread"):
        table.add_column(name, justify="left" if name == "" else "right")
    for figure in _figures(plan):
        each = "" if figure.per_prompt is None else figure.show(figure.per_prompt)
        spread = "" if figure.spread is None else f"±{figure.spread:.0%}"
        table.add_row(figure.name, each, figure.show(figure.total), spread)
    console = Console(highlight=False)
    console.print(table)
    for remark in _remarks(plan):
        console.print(remark, markup=False)


def _as_rows(plan: SweepPlan) -> pa.Table:
    import pyarrow as pa

    figures = _figures(plan)
    columns = {
        "figure": [figure.name for figure in figures],
        "unit": [figure.unit for figure in figures],
        "per_prompt": pa.array([figure.per_prompt for figure in figures], pa.float64()),
        "whole_sweep": pa.array([figure.total for figure in figures], pa.float64()),
        "spread": pa.array([figure.spread for figure in figures], pa.float64()),
    }
    return pa.table(columns)


def _figures(plan: SweepPlan) -> list[Figure]:
    found, replicas = plan.forecast, max(1, plan.placement.replicas)
    device = "device and host" if plan.device == "cpu" else "device"
    time = f"time on {replicas} replica{'s' * (replicas > 1)}, without start-up"
    figures = [
        Figure("prompts to trace", "prompts", plan.counts.count),
        _estimated("active features", "features", found.active),
        _estimated("rows", "rows", found.rows),
        _estimated("output", "bytes", found.output_bytes, readable_bytes),
        _estimated("seconds of one replica", "seconds", found.seconds, "{:,.3g}".format),
        Figure(time, "seconds", found.hours(replicas) * 3600, _hours, spread=found.seconds.spread),
        Figure(f"peak memory, {device}", "bytes", found.device_bytes, readable_bytes),
    ]
    if plan.graphs != plan.counts.count:
        figures.insert(1, Figure("graphs, one a position", "graphs", plan.graphs))
    if plan.device != "cpu":
        figures.append(Figure("peak memory, host", "bytes", found.host_bytes, readable_bytes))
    return [*figures, Figure("block size, pairs", "pairs", plan.block_pairs)]


def _estimated(
    name: str, unit: str, estimate: Estimate, show: Callable[[float], str] = "{:,.0f}".format
) -> Figure:
    return Figure(name, unit, estimate.total, show, estimate.mean, estimate.spread)


def _hours(seconds: float) -> str:
    """Write a duration in hours, a short one so that it can be read too."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else clock(seconds)


def _remarks(plan: SweepPlan) -> list[str]:
    from jobs._summary import shared

    counts, samples = plan.counts, plan.samples
    phases: Counter[str] = Counter()
    for sample in samples:
        phases.update(asdict(sample.seconds))
    means = ", ".join(f"{name} {seconds / len(samples):.3f}" for name, seconds in (+phases).items())
    cores = f"{plan.placement.cores} core{'s' * (plan.placement.cores > 1)}"
    remarks = [
        f"From {len(samples)} traced prompts of {min(s.sizes.positions for s in samples)} to "
        f"{max(s.sizes.positions for s in samples)} positions; the longest of all has "
        f"{plan.forecast.longest}. Seconds a prompt by phase: {means}.",
        f"Spread: two standard errors of the sample. Time is for replicas of {cores} that do not slow each "
        f"other. Start-up comes on top: {plan.load_seconds:.0f} s to load the model, side by side on all "
        "replicas, and some seconds for Ray.",
    ]
    extras = ", ".join(
        f"{name} {seconds:.3f} s and {readable_bytes(size)}" for name, (seconds, size) in plan.extras.items()
    )
    remarks.append(f"Of that, beside the graph itself: {extras}.")
    remarks += plan.openings
    if counts.repeated or counts.rejected:
        remarks.append(
            f"Not to trace: {counts.repeated:,} repeated prompts, {counts.rejected:,} that cannot be traced."
        )
    if counts.same_id:
        remarks.append(f"Same id: {shared(counts.same_id, counts.shared_ids)}.")
    return [*remarks, *(f"Could not be traced: {failure}" for failure in plan.failures)]


if __name__ == "__main__":
    raise SystemExit(run_command(main))
