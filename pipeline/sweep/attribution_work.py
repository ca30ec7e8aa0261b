"""The work of a sweep: a prompt to its graph to rows."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from pipeline.errors import ModelError
from pipeline.runtime import Rows, StageError, WorkerResources
from pipeline.seconds import NO_SECONDS, Seconds
from pipeline.store import Output
from pipeline.store.commits import position_key
from pipeline.store.rows import TracedPrompt, graph_tables, join_tables
from pipeline.sweep.engine import Engine, EngineConfig, Trace
from pipeline.sweep.prompts import TokenizedPrompt
from schemas import TABLES, Table


@dataclass
class AttributionWork:
    """The tracing of prompts with an engine."""

    config: EngineConfig
    memory_bytes: int | None = None
    """Memory of one worker, where it is known."""

    tables: ClassVar[tuple[Table, ...]] = tuple(TABLES.values())
    engine_class: ClassVar[type[Engine]] = Engine

    def load(self, resources: WorkerResources, output: Output) -> None:
        """Load model and transcoders.

        Raises:
            ModelError: the model cannot be loaded, its architecture is not supported, or it does not fit.
            TranscoderError: the transcoders cannot be read, or do not fit the model.

        """
        torch.set_num_threads(resources.threads)
        mine = {"devices": resources.devices, "device_share": resources.device_share}
        try:
            self._engine = self.engine_class(replace(self.config, **mine))
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"model {self.config.model!r} and its transcoders do not fit on the GPU "
                f"({error}): use a larger one or a narrower dtype."
            ) from error
        self._run_key, self._columns = output.claimed().run_key, output.extra_columns

    def do(self, prompt: TokenizedPrompt) -> Rows:
        """Trace a prompt, all its positions, and return their rows.

        Raises:
            StageError: it could not be traced, or its graph cannot be stored.

        """
        rows, seconds = [], NO_SECONDS
        for trace in self._engine.traces(prompt.token_ids, prompt.targets):
            started = time.perf_counter()
            try:
                rows.append(graph_tables(traced_prompt(prompt, trace, self._run_key), self._columns))
            except Exception as error:
                raise StageError("write", error) from error
            seconds += trace.seconds + Seconds(tables=time.perf_counter() - started)
        return Rows(rows[0] if len(rows) == 1 else join_tables(rows), seconds)


def traced_prompt(prompt: TokenizedPrompt, trace: Trace, run_key: int) -> TracedPrompt:
    """Join a prompt and its trace to what becomes rows."""
    # The engine saw only token ids; the user's own spelling goes into the table where there is one.
    text = trace.graph.prompt if prompt.text is None else prompt.text
    position = trace.graph.n_positions - 1
    return TracedPrompt(
        prompt_key=prompt.key if trace.is_whole else position_key(prompt.key, position),
        id=prompt.id if trace.position is None else f"{prompt.id}@{position}",
        run_key=run_key,
        sequence=prompt.id,
        sequence_key=prompt.key if prompt.sequence_key is None else prompt.sequence_key,
        graph=replace(trace.graph, prompt=text),
        pruned=trace.pruned,
        stability=trace.stability,
        replacement_score=trace.replacement_score,
        completeness_score=trace.completeness_score,
        unexpanded_influence=trace.unexpanded_influence,
        dropped_share=trace.dropped_share,
        constants_share=trace.constants_share,
        head_loadings=trace.head_loadings,
        qk=trace.qk,
        pruning_seconds=trace.seconds.pruning,
        peak_bytes=trace.peak_bytes,
        block_pairs=trace.block_pairs,
        opened_by=prompt.opened_by,
        generated=trace.generated,
        generated_index=trace.generated_index,
        extra_columns=prompt.extra_columns,
    )
