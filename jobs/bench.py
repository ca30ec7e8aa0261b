"""Time the engine on a fixed model and print figures next to the machine's own rate.

The model has 12 layers, width 512, 8 heads, 4 key/value heads, vocabulary 8192, 8192 JumpReLU
features a layer of which about 40 are active per token, and random weights from a seed. Traced are 16
tokens with every row and 64 tokens with 7,500. "of machine" is the share of this machine's float32
matrix-product rate, measured in the same process, that the rows reach by counted arithmetic. The
reference is circuit-tracer 0.4.1 on the same shapes with 2 threads of a quiet machine: its figures are
stored, not measured here, so the ratio means something only on 2 threads of a like machine.

With --interventions, single-feature ablations are timed instead: one call each, and batched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jobs.cli import run_command

if TYPE_CHECKING:
    from pipeline.benchmark.attribution import Measurement
    from pipeline.benchmark.interventions import Rates


@dataclass(frozen=True)
class Options:
    """What can be set."""

    repeats: int = 3
    """Runs of each case; figures are medians."""

    threads: int | None = None
    """CPU threads; by default torch's own choice."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where to run."""

    interventions: bool = False
    """Time interventions instead of graphs."""


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    import tyro

    options = tyro.cli(Options, args=argv, prog="circuit-sweep bench", description=__doc__)
    import torch

    from pipeline.benchmark import interventions
    from pipeline.benchmark.attribution import measure
    from pipeline.errors import ConfigurationError

    if options.repeats < 1:
        raise ConfigurationError(f"--repeats is {options.repeats}; it must be at least 1.")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("--device is cuda, but torch sees no GPU here: use --device cpu.")
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{options.device}, {torch.get_num_threads()} threads, float32, median of {options.repeats} runs")
    if options.interventions:
        _print_rates(interventions.measure(options.device, torch.float32, options.repeats))
    else:
        _print(measure(options.device, torch.float32, options.repeats))
    return 0


def _print_rates(rates: Rates) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "a second", "batched is")
    for name in ("alone", "shared", "batched"):
        rate = getattr(rates, name)
        table.add_row(name, f"{rate:,.1f}", f"{rates.batched / rate:.1f}x")
    Console().print(table)


def _print(measurements: list[Measurement]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", *(f"{item.case.n_tokens} tokens" for item in measurements))
    lines = {
        "active features": lambda item: f"{item.active:,}",
        "rows": lambda item: f"{item.rows:,}",
        "seconds a graph": lambda item: f"{item.seconds:.2f}",
        "  model": lambda item: f"{item.model_seconds:.2f}",
        "  rows": lambda item: f"{item.row_seconds:.2f}",
        "seconds to prune": lambda item: f"{item.prune_seconds:.2f}",
        "rows a second": lambda item: f"{item.rows / item.row_seconds:,.0f}",
        "peak memory above model": lambda item: f"{item.peak_bytes / 1e9:.2f} GB",
        "rate of rows": lambda item: f"{item.row_rate / 1e9:.0f} GFLOP/s",
        "machine's matrix product": lambda item: f"{item.matrix_rate / 1e9:.0f} GFLOP/s",
        "of machine": lambda item: f"{item.share:.0%}",
        "reference seconds": lambda item: f"{item.case.reference_seconds:.1f}",
        "reference / ours": lambda item: f"{item.case.reference_seconds / item.seconds:.1f}x",
    }
    for name, value in lines.items():
        table.add_row(name, *(value(item) for item in measurements))
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
