"""A validation from a sweep's output to published tables: the driver of a sweep, doing other work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import CircuitSweepError
from pipeline.runtime import Fleet, Placement, signals_ignored, termination_interrupts
from pipeline.runtime.telemetry import Progress
from pipeline.store import Output
from pipeline.store.commits import Lease, run_key, write_report
from pipeline.sweep import WorkersConfig, drive, placement_finder
from pipeline.sweep_model import recorded_model
from pipeline.validation.config import ValidationConfig
from pipeline.validation.output import ValidationOutput
from pipeline.validation.stored_circuits import GraphShards
from pipeline.validation.worker import JudgeConfig
from pipeline.version import ENGINE_VERSION


@dataclass
class ValidationReport:
    """One start of a validation, as it is stored in `validation/_runs/`."""

    state: str
    """`finished`, or the class of what ended it early."""

    started: datetime
    finished: datetime
    tested: int
    """Graphs tested by this start."""

    failures: int
    """Graphs that could not be tested by this start."""

    already_done: int
    """Graphs tested (or failed) before."""

    run_key: int
    configuration: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    """What was out of the ordinary."""


def validate_sweep(
    url: str,
    config: ValidationConfig,
    progress: Progress,
    workers: WorkersConfig,
    address: str | None = None,
    trust_remote_code: bool = False,
    lazy_encoder: bool = False,
) -> ValidationReport:
    """Test the graphs of a finished sweep, or what is left of them.

    Raises:
        CircuitSweepError: there is no sweep, its model cannot be had as it was, or the output cannot be
            written; what was committed stays.
        KeyboardInterrupt: the user, or whoever sent SIGTERM, wants it to end; what was committed stays.

    """
    source = Output(url)
    used = recorded_model(source, trust_remote_code)
    identity = {
        "engine": ENGINE_VERSION,
        "sweep": source.claimed().run_key,
        **config.model_dump(mode="json"),
    }
    key = run_key(identity)
    output = ValidationOutput(url)
    output.claim(identity, key)
    judge = JudgeConfig(used, lazy_encoder, source.url, config)
    find_place = placement_finder(workers, used.model, used.transcoders, used.dtype, lazy_encoder)
    with termination_interrupts(), output.hold() as lease:
        shards = _shards(source, output, config, key)
        return _run_held(
            shards, output, Fleet(judge, workers.prompt_seconds), config, lease, find_place, progress, address
        )


def _run_held(
    shards: GraphShards,
    output: ValidationOutput,
    fleet: Fleet,
    config: ValidationConfig,
    lease: Lease,
    find_place: Callable[[], Placement],
    progress: Progress,
    address: str | None,
) -> ValidationReport:
    progress.skipped = lambda: shards.already_done
    started, state = datetime.now(UTC), "finished"
    try:
        drive(shards, output, fleet, lease, find_place, progress, address)
        lease.check()
        output.publish(shards.run_key)
        output.delete_orphans()
    except BaseException as error:
        state = type(error).__name__
        # The reason for stopping matters more than the report of it.
        with suppress(CircuitSweepError), signals_ignored():
            write_report(output.folder, _report(state, started, shards, progress, config))
        raise
    report = _report(state, started, shards, progress, config)
    write_report(output.folder, report)
    return report


def _shards(source: Output, output: ValidationOutput, config: ValidationConfig, key: int) -> GraphShards:
    done: set[int] = set()
    for marker in output.committed():
        done.update(marker.prompt_keys, marker.failed_keys)
    return GraphShards(source, config.seed, config.share, key, done)


def _report(
    state: str, started: datetime, shards: GraphShards, progress: Progress, config: ValidationConfig
) -> ValidationReport:
    return ValidationReport(
        state=state,
        started=started,
        finished=datetime.now(UTC),
        tested=progress.graphs,
        failures=progress.failures,
        already_done=shards.already_done,
        run_key=shards.run_key,
        configuration=config.model_dump(mode="json"),
        notes=progress.notes,
    )
