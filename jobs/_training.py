"""The commands that also speak of trainings: what `plan`, `status` and `verify` print of one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.readable import clock, readable_bytes
from pipeline.untrusted import YAML_BYTES, parse_yaml, read_bounded

if TYPE_CHECKING:
    from pipeline.training.distributed import MeasuredSpeed, TrainingCheck, TrainingSizes, TrainingStatus
    from pipeline.training.planning import Cost, Gpu
    from pipeline.untrusted import Console


def names_dictionary(argv: list[str]) -> bool:
    """Tell if a command line names a dictionary's file, which has `features`, and not a sweep's."""
    for word in argv:
        if not word.startswith("-") and word.endswith((".yaml", ".yml")) and Path(word).is_file():
            try:
                values, _ = parse_yaml(read_bounded(word, YAML_BYTES).decode())
            except (yaml.YAMLError, UnicodeDecodeError, OSError):
                return False  # the sweep's reader says what is wrong
            return isinstance(values, dict) and "features" in values
    return False


def plan_rows(
    sizes: TrainingSizes, cost: Cost, gpu: Gpu, measured: MeasuredSpeed | None
) -> list[dict[str, Any]]:
    """Return a training's plan as rows of name, value and what it rests on."""
    shape, kind = sizes.shape, sizes.config.kind
    group = max(cost.groups, key=lambda one: one.bytes_a_gpu)
    weight_bytes = 4 if sizes.config.dtype == "float32" else 2
    return [
        _row("parameters", shape.parameters, f"{shape.parameters:,}", f"{shape.layers} layers of {kind}"),
        _row("state", shape.state_bytes, readable_bytes(shape.state_bytes), "16 bytes a parameter"),
        _row("groups", len(cost.groups), str(len(cost.groups)), f"largest: {group.layers} layers"),
        _row("processes", cost.gpus, str(cost.gpus), "GPUs, or shares of the cores"),
        _row(
            "memory of a process",
            group.bytes_a_gpu,
            readable_bytes(group.bytes_a_gpu),
            f"of {readable_bytes(gpu.bytes)}: state, model, activations",
        ),
        _row(
            "files",
            shape.file_bytes(weight_bytes),
            readable_bytes(shape.file_bytes(weight_bytes)),
            sizes.config.dtype,
        ),
        *_speed_rows(sizes, cost, gpu, measured),
        _row(
            "useful share",
            cost.useful_share,
            f"{cost.useful_share:.0%}",
            "of the FLOPs; the rest runs the model",
        ),
    ]


def _speed_rows(
    sizes: TrainingSizes, cost: Cost, gpu: Gpu, measured: MeasuredSpeed | None
) -> list[dict[str, Any]]:
    if measured is not None:
        rate, rests_on = measured.tokens_per_second, f"{measured.steps} steps of {measured.unit}, taken here"
        hours = len(cost.groups) * sizes.config.tokens / rate / 3600
    else:
        rate, hours = cost.tokens_a_second, cost.gpu_hours
        dense = ", decoding densely" if sizes.config.kind == "clt" else ""
        rests_on = f"of one device, if it sustains {gpu.flops / 1e12:.2g} TFLOP/s{dense}"
    return [
        _row("tokens/s", rate, f"{rate:,.0f}", rests_on),
        _row("device hours", hours, clock(3600 * hours), "all devices together, at that speed"),
    ]


def _row(name: str, value: float, shown: str, rests_on: str) -> dict[str, Any]:
    return {"name": name, "value": float(value), "shown": shown, "rests_on": rests_on}


def print_plan(console: Console, rows: list[dict[str, Any]]) -> None:
    """Print a training's plan."""
    from rich.table import Table

    table = Table("", "", "what it rests on")
    for row in rows:
        table.add_row(row["name"], row["shown"], row["rests_on"])
    console.print(table)


def print_status(console: Console, status: TrainingStatus) -> None:
    """Print how far a training is."""
    from rich.table import Table

    stopped = f": {status.error}" if status.error else ""
    console.print(f"output     {status.output}", markup=False)
    console.print(f"state      {status.state}{stopped}", markup=False)
    if status.driver is not None:
        console.print(f"driver     {status.driver}", markup=False)
    table = Table("layers", "does", "step", "kept at", "of", "measured", "tokens/s", "left")
    for unit in status.units:
        now = unit.now
        done = "done" if unit.is_exported else "waiting"
        table.add_row(
            unit.unit,
            now.activity if now is not None else done,
            f"{now.step:,}" if now is not None and now.steps else "",
            f"{unit.saved:,}",
            f"{unit.steps:,}",
            ", ".join(f"{name} {value:.3g}" for name, value in now.figures.items()) if now else "",
            f"{now.rate:,.0f}" if now is not None and now.rate else "",
            clock(now.seconds_left) if now is not None and now.seconds_left is not None else "",
        )
    console.print(table)
    for unit, reason in status.failed.items():
        console.print(f"{unit} was given up: {reason}", markup=False)
    for note in status.notes[-3:]:
        console.print(f"note       {note}", markup=False)
    if not status.is_well:
        console.print("`circuit-sweep train` with the same file goes on where it stopped.", markup=False)


def print_check(console: Console, check: TrainingCheck) -> None:
    """Print what was found in a training's files."""
    for problem in check.problems:
        console.print(f"damaged: {problem}", markup=False)
    if check.problems:
        console.print(
            "to do: start the training again, which passes over damaged checkpoints; a damaged dictionary is "
            "written anew once `.training/dictionary.json` is deleted.",
            markup=False,
        )
    if check.orphans:
        console.print(
            f"note: {len(check.orphans):,} files are named by no marker; the next start deletes them."
        )
    looked = f"{check.files:,} files, {readable_bytes(check.bytes)}"
    console.print(f"{check.output}: {'DAMAGED' if check.problems else 'sound'} ({looked})", markup=False)


def as_json(found: TrainingStatus | TrainingCheck) -> dict[str, Any]:
    """Return a status or a check as plain values."""
    values = asdict(found)
    for unit, one in zip(values.get("units", ()), getattr(found, "units", ()), strict=True):
        unit["now"] = one.now.model_dump(mode="json") if one.now is not None else None
    return values
