"""One replica: a process that owns its GPU or its share of the cores, and does shard after shard.

Ray never restarts it (`max_restarts=0`): the driver sees every death and decides. A prompt that raises is a
row of `failures`; only what cannot be written, or kills the process, concerns the driver.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace

import pyarrow as pa
import ray
import torch

from pipeline.errors import ModelError
from pipeline.store import Output, TracedPrompt, failure_tables, graph_tables, join_tables
from pipeline.sweep.engine import EngineConfig, StageError, Trace, load_engine
from pipeline.sweep.placement import Placement
from pipeline.sweep.shards import Shard, ShardPrompt

Tables = dict[str, pa.Table]


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker needs to know."""

    engine: str
    """Import path of the engine, `module:Class`."""

    engine_config: EngineConfig
    """What the engine needs to know."""

    output: str
    """URL of the output."""

    @property
    def kind(self) -> type[Worker]:
        """The class that does the work; a configuration of other work names another."""
        return Worker


@dataclass(frozen=True)
class ShardReport:
    """What the driver is told of a committed shard."""

    graphs: int
    """Prompts with a graph."""

    failures: int
    """Prompts without."""


class Worker:
    """Loads once, then traces, writes and commits shards."""

    def __init__(self, config: WorkerConfig, threads: int) -> None:
        self.config = config
        self.threads = threads

    def load(self) -> None:
        """Load model and transcoders.

        Raises:
            CircuitSweepError: they cannot be loaded or do not fit each other.

        """
        torch.set_num_threads(self.threads)
        try:
            self.engine = load_engine(self.config.engine, self.config.engine_config)
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"model {self.config.engine_config.model!r} and its transcoders do not fit on the GPU "
                f"({error}): use a larger one or a narrower dtype."
            ) from error
        self.output = Output(self.config.output)

    def run(self, shard: Shard) -> ShardReport:
        """Trace, write and commit a shard.

        Raises:
            StoreError: it could not be written.

        """
        tables: list[Tables] = []
        failures = list(shard.rejected)
        seconds: Counter[str] = Counter()
        for prompt in shard.prompts:
            try:
                tables.append(self._trace(prompt, shard.run_key, seconds))
            except StageError as error:
                failures.append(prompt.failed(shard.run_key, error.stage, error.cause, shard.deaths + 1))
        graphs = len(tables)
        tables += [failure_tables(failed, self.output.carried) for failed in failures]
        attempt = f"{shard.deaths}{shard.errors}"
        self.output.commit(shard.id, join_tables(tables), attempt, seconds)
        return ShardReport(graphs, len(failures))

    def _trace(self, prompt: ShardPrompt, run_key: int, seconds: Counter[str]) -> Tables:
        trace = self.engine.trace(prompt.token_ids, prompt.targets)
        started = time.perf_counter()
        try:
            tables = graph_tables(traced_prompt(prompt, trace, run_key), self.output.carried)
        except Exception as error:
            raise StageError("write", error) from error
        seconds.update(trace.seconds)
        seconds["tables"] += time.perf_counter() - started
        return tables


def traced_prompt(prompt: ShardPrompt, trace: Trace, run_key: int) -> TracedPrompt:
    """Return what becomes rows."""
    # The engine saw only token ids; the user's own spelling goes into the table where there is one.
    text = trace.graph.prompt if prompt.text is None else prompt.text
    return TracedPrompt(
        prompt_key=prompt.prompt_key,
        id=prompt.id,
        run_key=run_key,
        graph=replace(trace.graph, prompt=text),
        pruned=trace.pruned,
        replacement=trace.replacement,
        completeness=trace.completeness,
        residual=trace.residual,
        pruning_seconds=trace.seconds["pruning"],
        peak_bytes=trace.peak_bytes,
        block_pairs=trace.block_pairs,
        carried=prompt.carried,
    )


def thread_environment(cores: int) -> dict[str, str]:
    """Return the variables that give a process its threads, which sleep while they wait (see `jobs.cli`)."""
    return {"OMP_NUM_THREADS": str(cores), "MKL_NUM_THREADS": str(cores), "OMP_WAIT_POLICY": "PASSIVE"}


def start_worker(config: WorkerConfig, placement: Placement) -> ray.actor.ActorHandle:
    """Start a worker where the cluster has room for it; calls wait until it has."""
    environment = thread_environment(placement.cores)
    remote = ray.remote(max_restarts=0, max_task_retries=0)(config.kind)
    return remote.options(
        num_cpus=placement.cores,
        num_gpus=placement.gpus,
        # Said to the libraries before they are imported: a pool that is already there cannot shrink.
        runtime_env={"env_vars": environment},
    ).remote(config, placement.cores)
