"""A validation from a sweep's output to published tables: another kind of work, run as a sweep is."""

from __future__ import annotations

import sys

from pipeline.runtime import RunReport, WorkersConfig, run_work
from pipeline.runtime.telemetry import Progress
from pipeline.store import Output
from pipeline.store.commits import run_key
from pipeline.sweep import bytes_of_worker
from pipeline.sweep_model import recorded_model
from pipeline.validation.config import ValidationConfig
from pipeline.validation.output import ValidationOutput
from pipeline.validation.stored_circuits import StoredGraphs, read_partners
from pipeline.validation.work import ValidationWork
from pipeline.version import ENGINE_VERSION


def validate_sweep(
    url: str,
    config: ValidationConfig,
    progress: Progress,
    workers: WorkersConfig,
    address: str | None = None,
    trust_remote_code: bool = False,
    lazy_encoder: bool = False,
) -> RunReport:
    """Test the graphs of a finished sweep, or what is left of them.

    Raises:
        CircuitSweepError: there is no sweep, its model cannot be had as it was, or the output cannot be
            written; what was committed stays.
        KeyboardInterrupt: the user, or whoever sent SIGTERM, wants it to end; what was committed stays.

    """
    work = validation_work(url, config, trust_remote_code, lazy_encoder)
    return validate(work, progress, workers, address)


def validate(
    work: ValidationWork, progress: Progress, workers: WorkersConfig, address: str | None = None
) -> RunReport:
    """Do the work of a validation, as `validate_sweep` does.

    Raises:
        CircuitSweepError: the work cannot be loaded, or the output cannot be written.
        KeyboardInterrupt: the user, or whoever sent SIGTERM, wants it to end.

    """
    source, settings = Output(work.sweep), work.config.model_dump(mode="json")
    identity = {"engine": ENGINE_VERSION, "sweep": source.claimed().run_key, **settings}
    output = ValidationOutput(work.sweep)
    output.claim(identity, run_key(identity))
    graphs = StoredGraphs(source, work.config.seed, work.config.share)
    return run_work(
        work,
        graphs,
        output,
        workers,
        progress,
        address=address,
        shard_size=sys.maxsize,  # a sweep's shard is one of ours: its rows lie together
        complete=graphs.complete,
        configuration=settings,
    )


def validation_work(
    url: str, config: ValidationConfig, trust_remote_code: bool = False, lazy_encoder: bool = False
) -> ValidationWork:
    """Return what a validation does with one graph of a sweep.

    Raises:
        CircuitSweepError: there is no sweep, or its model cannot be had as it was.

    """
    source = Output(url)
    read_partners(source, config.pair)  # refused here rather than in every worker
    used = recorded_model(source, trust_remote_code)
    memory = bytes_of_worker(used.model, used.transcoders, used.dtype, lazy_encoder)
    return ValidationWork(source.url, config, used, lazy_encoder, memory)
