"""A sweep from its configuration to published tables: open the inputs, claim the output, run the work."""

from __future__ import annotations

from typing import Any

from pipeline.runtime import RunReport, Work, run_work
from pipeline.runtime.telemetry import Progress
from pipeline.store import Output
from pipeline.sweep.attribution_work import AttributionWork
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.engine import EngineConfig
from pipeline.sweep.inputs import Inputs, open_inputs
from pipeline.sweep.memory import bytes_of_worker


def run_sweep(config: SweepConfig, progress: Progress, address: str | None = None) -> RunReport:
    """Run a sweep, or what is left of it, to its end.

    Raises:
        CircuitSweepError: an input cannot be used, or the output cannot be written; what was committed stays.
        KeyboardInterrupt: Ctrl-C or SIGTERM ended it; what was committed stays.

    """
    inputs = open_inputs(config)
    return sweep(config, inputs, attribution_work(config, inputs), progress, address)


def sweep(
    config: SweepConfig, inputs: Inputs, work: Work, progress: Progress, address: str | None = None
) -> RunReport:
    """Do some work with each prompt of a sweep, as `run_sweep` does.

    Raises:
        CircuitSweepError: the work cannot be loaded, or the output cannot be written.
        KeyboardInterrupt: Ctrl-C or SIGTERM ended it.

    """
    output = Output(config.output)
    output.claim(described(config, inputs), inputs.run_key, inputs.prompts.extra_columns)
    progress.counts.total = inputs.prompts.total
    return run_work(
        work,
        inputs.items,
        output,
        config.workers,
        progress,
        address=address,
        shard_size=config.prompts_a_shard,
        configuration=config.model_dump(mode="json"),
    )


def attribution_work(config: SweepConfig, inputs: Inputs) -> AttributionWork:
    """Return what a sweep does with one prompt."""
    memory = bytes_of_worker(inputs.model, inputs.transcoders, config.dtype, config.lazy_encoder)
    return AttributionWork(engine_config(config, inputs), memory)


def described(config: SweepConfig, inputs: Inputs) -> dict[str, Any]:
    """Return the identity with the names that the user gave beside the fingerprints."""
    names = {"model": config.model, "transcoders": config.transcoders}
    named = {key: {"name": name, **inputs.identity[key]} for key, name in names.items()}
    # Later commands load the model again and must know that it needs code of its repository.
    beside = {"trust_remote_code": config.trust_remote_code, "pairs": config.pairs.model_dump(mode="json")}
    return inputs.identity | named | beside


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
        listed_commits=inputs.transcoders.listed_commits,
        zero_positions=config.zero_positions,
    )
