"""Sweeps of the tiny model: prompts, a driver in a process of its own, rows to compare."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console

from pipeline.runtime.telemetry.progress import Progress
from pipeline.runtime.telemetry.run_report import RunReport
from pipeline.store.output import Output
from pipeline.store.verify.checks import verify
from pipeline.sweep.attribution_work import AttributionWork
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.engine import Engine
from pipeline.sweep.inputs import open_inputs
from pipeline.sweep.run import attribution_work, sweep
from schemas import TABLES
from tests.support.tiny_model import sentence

MEASURED = ("seconds_model", "seconds_rows", "seconds_pruning", "peak_bytes", "created")
"""Columns that no two runs agree on."""


Make = Callable[..., SweepConfig]


def prompts(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"q{i}", "prompt": sentence(i), "family": f"f{i % 3}", "answer": "w5"} for i in range(count)
    ]


def rows(config: SweepConfig) -> dict[str, list[dict[str, Any]]]:
    """All rows of an output that is sound, in an order of their own."""
    assert verify(config.output).problems == []
    output = Output(config.output)
    tables = {name: output.dataset(name).to_table() for name in TABLES}
    return {name: sorted(_comparable(table), key=repr) for name, table in tables.items()}


def _comparable(table: pa.Table) -> list[dict[str, Any]]:
    return table.drop_columns([name for name in MEASURED if name in table.column_names]).to_pylist()


def quiet() -> Progress:
    return Progress(Console(quiet=True))


@dataclass
class MisbehavingWork(AttributionWork):
    """A sweep's work with an engine of another class."""

    engine_class: type[Engine] = Engine


def sweep_with(
    engine: type[Engine], config: SweepConfig, progress: Progress, address: str | None = None
) -> RunReport:
    """Run a sweep whose workers trace with another engine."""
    inputs = open_inputs(config)
    real = attribution_work(config, inputs)
    work = MisbehavingWork(real.config, real.memory_bytes, engine)
    return sweep(config, inputs, work, progress, address)


def start_driver(
    config: SweepConfig, address: str | None, tmp_path: Path, engine: str = "Slow", **options: Any
) -> subprocess.Popen:
    """Run a slow sweep in a process of its own."""
    path = tmp_path / "config.json"
    path.write_text(config.model_dump_json())
    code = (
        "import sys; from rich.console import Console; from pipeline.sweep.config import SweepConfig\n"
        "from jobs.cli import run_command\n"
        "from pipeline.runtime.telemetry.progress import Progress\n"
        f"from tests.support.misbehaving_engines import {engine}\n"
        "from tests.support.sweeps import sweep_with\n"
        f"config = SweepConfig.model_validate_json(open({str(path)!r}).read())\n"
        f"run = lambda argv: sweep_with({engine}, config, Progress(Console()), {address!r})\n"
        "sys.exit(run_command(lambda argv: run(argv) and 0))\n"
    )
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen([sys.executable, "-c", code], cwd=root, env=environment, **options)


def wait_for(
    condition: Callable[[], bool], process: subprocess.Popen | None = None, seconds: float = 120
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, "the driver ended before its time"
        assert time.monotonic() < deadline, "nothing was committed in time"
        time.sleep(0.05)
