"""A sweep from its configuration to published tables.

Open and check the inputs, claim the output and keep other drivers out of it, ask the markers what is done,
let the driver do the rest, publish, and leave a report in `_runs/`. Every step may be repeated: a sweep that
was killed is simply started again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from pipeline.errors import CircuitSweepError
from pipeline.hub import Pinned
from pipeline.runtime import (
    Driver,
    Fleet,
    Placement,
    Shard,
    Shards,
    bytes_of_replica,
    cluster,
    machines,
    place,
    read_ledger,
    refuse_impossible,
    signals_ignored,
    termination_interrupts,
)
from pipeline.runtime.telemetry import Progress
from pipeline.store import Output
from pipeline.store.commits import Lease, write_report
from pipeline.sweep.attribution_worker import TracerConfig
from pipeline.sweep.config import SweepConfig, WorkersConfig
from pipeline.sweep.engine import ENGINE, EngineConfig
from pipeline.sweep.inputs import Inputs, open_inputs


@dataclass
class RunReport:
    """One start of a sweep, as it is stored in `_runs/`."""

    state: str
    """`finished`, or the class of what ended it early."""

    started: datetime
    finished: datetime
    prompts: int
    """Prompts read."""

    graphs: int
    """Prompts traced by this start."""

    failures: int
    """Prompts that failed in this start."""

    already_done: int
    """Prompts whose graphs had been committed before."""

    already_failed: int
    """Prompts whose failures had been committed before."""

    repeated: int
    """Prompts whose tokens an earlier prompt of the dataset has too."""

    repeated_keys: dict[str, int]
    """Ids of the first of these, with the keys under which their graphs are."""

    run_key: int
    identity: dict[str, Any]
    """Everything that changes a result."""

    configuration: dict[str, Any]
    """The resolved configuration."""

    total: int | None = None
    """Prompts that the dataset has, where that can be told without reading it to its end."""

    error: str | None = None
    """What ended it early, in words."""

    published: dict[str, int] = field(default_factory=dict)
    """The version of each table that this start published; tables without new rows get none."""

    notes: list[str] = field(default_factory=list)
    """What was out of the ordinary."""

    @property
    def new_prompts(self) -> int:
        """Prompts that this start was the first to try."""
        return self.graphs + self.failures

    @property
    def failed_prompts(self) -> int:
        """Prompts of this dataset without a graph."""
        return self.failures + self.already_failed


def run_sweep(
    config: SweepConfig, progress: Progress, address: str | None = None, engine: str = ENGINE
) -> RunReport:
    """Run a sweep, or what is left of it, to its end.

    Raises:
        CircuitSweepError: an input cannot be used, or the output cannot be written; what was committed stays.
        KeyboardInterrupt: the user, or whoever sent SIGTERM, wants it to end; what was committed stays.

    """
    inputs = open_inputs(config)
    output = Output(config.output)
    output.claim(described(config, inputs), inputs.run_key, inputs.prompts.carried)
    with termination_interrupts(), output.hold() as lease:
        return _run_held(config, inputs, output, lease, progress, address, engine)


def _run_held(
    config: SweepConfig,
    inputs: Inputs,
    output: Output,
    lease: Lease,
    progress: Progress,
    address: str | None,
    engine: str,
) -> RunReport:
    shards = _shards(config, inputs, output)
    progress.total, progress.skipped = inputs.prompts.total, lambda: shards.passed_over
    started = datetime.now(UTC)
    try:
        _trace(config, inputs, output, shards, lease, progress, address, engine)
        lease.check()
        published = _publish(output, inputs.run_key)
        output.delete_orphans()
    except BaseException as error:
        report = _report(config, inputs, shards, progress, started, type(error).__name__)
        # The reason for stopping matters more than the report of it.
        with suppress(CircuitSweepError), signals_ignored():
            write_report(output.folder, replace(report, error=str(error) or None))
        raise
    report = replace(_report(config, inputs, shards, progress, started, "finished"), published=published)
    write_report(output.folder, report)
    return report


def _publish(output: Output, run_key: int) -> dict[str, int]:
    """Publish what is committed; return the tables that have a new version, with its number."""
    before = output.last_versions()
    output.publish(run_key)
    return {table: last for table, last in output.last_versions().items() if last != before.get(table)}


def described(config: SweepConfig, inputs: Inputs) -> dict[str, Any]:
    """Return the identity with the names that the user gave beside the fingerprints."""
    names = {"model": config.model, "transcoders": config.transcoders}
    named = {key: {"name": name, **inputs.identity[key]} for key, name in names.items()}
    # Whoever loads the model again must know that it needs code of its repository.
    return inputs.identity | named | {"trust_remote_code": config.trust_remote_code}


def _shards(config: SweepConfig, inputs: Inputs, output: Output) -> Shards:
    known = read_ledger(output)
    return Shards(
        inputs.prompts, inputs.tokenize, inputs.run_key, config.shard_size, inputs.read_targets, known
    )


def _trace(
    config: SweepConfig,
    inputs: Inputs,
    output: Output,
    shards: Iterable[Shard],
    lease: Lease,
    progress: Progress,
    address: str | None,
    engine: str,
) -> None:
    worker = TracerConfig(engine, engine_config(config, inputs), output.url)
    find_place = placement_finder(
        config.workers, inputs.model, inputs.transcoders, config.dtype, config.lazy_encoder
    )
    fleet = Fleet(worker, config.workers.prompt_seconds)
    drive(shards, output, fleet, lease, find_place, progress, address)


def drive(
    shards: Iterable[Shard],
    output: Output,
    fleet: Fleet,
    lease: Lease,
    find_place: Callable[[], Placement],
    progress: Progress,
    address: str | None,
) -> None:
    """Let a driver do what is left, as long as no other takes the output over; start Ray only if need be."""

    def held_place() -> Placement:
        lease.check()  # whenever the driver looks around, also when no shard is left to be made
        return find_place()

    left = iter(shards)
    first = next(left, None)
    if first is None:
        return
    with progress, cluster(address) as is_local:
        if is_local:
            refuse_impossible(find_place(), machines())
        Driver(chain([first], left), output, fleet, held_place, progress).run()


def placement_finder(
    workers: WorkersConfig,
    model: Pinned,
    transcoders: Pinned,
    dtype: str = "float32",
    lazy_encoder: bool = False,
) -> Callable[[], Placement]:
    """Return a function that fits replicas of a model and its dictionary to the cluster as it is."""
    bytes_needed = bytes_of_replica(model.folder, transcoders.folder, dtype, lazy_encoder)
    return lambda: place(workers, machines(), bytes_needed)


def engine_config(config: SweepConfig, inputs: Inputs) -> EngineConfig:
    """Return what a worker's engine needs to know."""
    return EngineConfig(
        model=inputs.model.name,
        transcoders=inputs.transcoders.name,
        dtype=config.dtype,
        trust_remote_code=config.trust_remote_code,
        lazy_encoder=config.lazy_encoder,
        attribution=config.attribution,
        pruning=config.pruning,
    )


def _report(
    config: SweepConfig, inputs: Inputs, shards: Shards, progress: Progress, started: datetime, state: str
) -> RunReport:
    return RunReport(
        state=state,
        started=started,
        finished=datetime.now(UTC),
        prompts=shards.read,
        graphs=progress.graphs,
        failures=progress.failures,
        already_done=shards.already_done,
        already_failed=shards.already_failed,
        repeated=shards.repeated,
        repeated_keys=shards.repeated_keys,
        run_key=inputs.run_key,
        identity=inputs.identity,
        configuration=config.model_dump(mode="json"),
        total=inputs.prompts.total,
        notes=progress.notes,
    )
