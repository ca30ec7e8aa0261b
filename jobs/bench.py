"""Time the engine on a fixed model and print figures next to the machine's own rate.

The medium model has 12 layers, width 512, 8 heads, 4 key/value heads, vocabulary 8192, 8192 JumpReLU
features a layer of which about 40 are active per token, and random weights from a seed. Without a flag
16 tokens are traced with every row and 64 tokens with 7,500; a flag measures something else instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jobs._command_line import parse
from jobs.cli import run_command

if TYPE_CHECKING:
    from pipeline.benchmark import Report


@dataclass(frozen=True)
class Options:
    """Arguments of the command line."""

    repeats: int = 3
    """Runs of each case; figures are medians."""

    threads: int | None = None
    """CPU threads; by default torch's own choice."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Device to run on."""

    shape: Literal["medium", "gemma-2-2b"] = "medium"
    """Shape of the random model whose graphs are timed; gemma-2-2b wants a GPU."""

    precision: bool = False
    """Measure the error of each precision against float64."""

    products: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Precision of the products that make rows, where graphs are timed."""

    expansion: bool = False
    """Measure how many rows a tolerance needs and what it changes."""

    long: bool = False
    """Measure a prompt of 2,048 tokens (about four minutes on 2 cores)."""

    positions: bool = False
    """Trace the last eight positions of texts one by one, and over shared rows."""

    interventions: bool = False
    """Time interventions, alone and batched."""

    store: bool = False
    """Write, compact and query 10 million synthetic edges (about two minutes, 500 MB of disk)."""

    viewer: bool = False
    """Time the viewer's answers on these edges (about five minutes)."""

    driver: bool = False
    """Drive a million prompts through 16 workers that only sleep (about 22 minutes)."""

    evidence: bool = False
    """Test noise labels of each kind for enrichment, and graphs without an effect for necessity, 200 times:
    the false discovery rate that is realised (about a minute)."""

    training: bool = False
    """Train a dictionary here and with the peers' trainers: tokens a second, FVU, L0, dead features, memory
    (about ten minutes with peers)."""

    peer: str | None = None
    """Python interpreter of another environment: with circuit-tracer in it, trace in turns with that (an
    hour); with --training, sae-lens and eai-sparsify, trained beside this project."""

    planted: bool = False
    """Look for circuits that were written into a model by hand: precision and recall of simple methods."""

    extras: bool = False
    """Measure what is stored beside the graph itself: head loadings, scores of heads, reconstruction,
    constants (about a minute)."""

    small: bool = False
    """Test the small circuits of both built-in models beside thresholds and simpler choices of as many
    features: necessity and sufficiency (about five minutes)."""

    shards: int = 10_000
    """With --driver: shards of 100 prompts."""

    output: str | None = None
    """With --driver: a new folder or `s3://` URL to write to, and to keep (default: one that is deleted)."""


MEASUREMENTS = {
    "precision": "engine.precision",
    "expansion": "engine.expansion",
    "long": "engine.long_prompts",
    "positions": "engine.positions",
    "interventions": "engine.interventions",
    "store": "store",
    "viewer": "viewer",
    "driver": "driver",
    "evidence": "evidence",
    "training": "training",
    "planted": "planted",
    "extras": "engine.extras",
    "small": "small_circuits",
}
"""Flag to module of `pipeline.benchmark`."""


def main(argv: list[str] | None = None) -> int:
    """Run one measurement and print its report."""

    options = parse(Options, argv, "bench", __doc__)
    from importlib import import_module

    from pipeline.benchmark import Settings

    _check(options)
    settings = Settings(
        options.device,
        options.repeats,
        options.shape,
        options.products,
        options.shards,
        options.peer,
        options.output,
    )
    asked = (module for flag, module in MEASUREMENTS.items() if getattr(options, flag))
    module = next(asked, "peers" if options.peer else "engine.attribution")
    measure = import_module(f"pipeline.benchmark.{module}").report
    # None of these needs torch here, and a driver's memory is measured.
    if options.driver or options.evidence or options.training:
        report = measure(settings)
    else:
        import torch

        if options.threads:
            torch.set_num_threads(options.threads)
        report = measure(settings)
        print(f"{options.device}, {torch.get_num_threads()} threads, medians of {options.repeats} runs")
    _print(report)
    return 0


def _check(options: Options) -> None:
    from pipeline.errors import ConfigurationError

    for name in ("repeats", "shards"):
        if getattr(options, name) < 1:
            raise ConfigurationError(f"--{name} is {getattr(options, name)}; it must be at least 1.")
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ConfigurationError("--device is cuda, but torch sees no GPU here: use --device cpu.")
    flags = [f"--{flag}" for flag in MEASUREMENTS if getattr(options, flag)]
    if len(flags) > 1:
        raise ConfigurationError(f"{' and '.join(flags)} are different measurements: give one at a time.")


def _print(report: Report) -> None:
    from rich.table import Table

    from pipeline.untrusted import Console

    table = Table(*report.columns)
    for row in report.rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    if report.remarks:
        console.print(report.remarks)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
