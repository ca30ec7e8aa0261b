"""The worker of a sweep: prompts to graphs to rows."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace

import torch

from pipeline.errors import ModelError
from pipeline.runtime import ShardPrompt, StageError, Tables, Worker
from pipeline.store import Output
from pipeline.store.rows import TracedPrompt, graph_tables
from pipeline.sweep.engine import EngineConfig, Trace, load_engine


@dataclass(frozen=True)
class TracerConfig:
    """What a worker of a sweep needs to know."""

    engine: str
    """Import path of the engine, `module:Class`."""

    engine_config: EngineConfig
    """What the engine needs to know."""

    output: str
    """URL of the output."""

    @property
    def kind(self) -> type[Worker]:
        """The class that does the work."""
        return Tracer


class Tracer(Worker):
    """Traces prompts with an engine."""

    config: TracerConfig

    def _load(self) -> None:
        torch.set_num_threads(self.threads)
        try:
            mine = {"devices": self.devices(), "device_share": self.device_share()}
            config = replace(self.config.engine_config, **mine)
            self.engine = load_engine(self.config.engine, config)
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"model {self.config.engine_config.model!r} and its transcoders do not fit on the GPU "
                f"({error}): use a larger one or a narrower dtype."
            ) from error
        self.output = Output(self.config.output)

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
        replacement_score=trace.replacement_score,
        completeness_score=trace.completeness_score,
        unexpanded_influence=trace.unexpanded_influence,
        pruning_seconds=trace.seconds["pruning"],
        peak_bytes=trace.peak_bytes,
        block_pairs=trace.block_pairs,
        carried=prompt.carried,
    )
