"""The work of testing circuits: a prompt of the test half, the runs of it, one row."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import torch

from pipeline.circuits.testing.prompts import TestPrompt
from pipeline.circuits.testing.runs import run_prompt
from pipeline.circuits.testing.sets import Node
from pipeline.runtime import Rows, StageError, WorkerResources
from pipeline.seconds import Seconds
from pipeline.store import Output
from pipeline.sweep_model import SweepModel
from pipeline.validation import read_circuit, read_partners
from schemas import CIRCUIT_RUN_TABLES, Table


@dataclass
class CircuitWork:
    """Runs of test prompts with circuits changed, a prompt at a time."""

    sweep: str
    """URL of the sweep's output."""

    circuits: Mapping[str, Mapping[Node, int]]
    """Supernode of each node, by circuit."""

    draws: int
    """Matched sets."""

    model: SweepModel
    """Model and transcoders of the sweep."""

    memory_bytes: int | None = None
    """Memory of one worker, where it is known."""

    tables: ClassVar[tuple[Table, ...]] = tuple(CIRCUIT_RUN_TABLES.values())

    def load(self, resources: WorkerResources, output: Output) -> None:
        """Load the sweep's model.

        Raises:
            ModelError: it cannot be loaded.
            TranscoderError: the transcoders cannot be read, or do not fit the model.

        """
        torch.set_num_threads(resources.threads)
        self._model = self.model.load(resources.devices)
        self._source = Output(self.sweep)
        self._partners = read_partners(self._source, None)

    def do(self, prompt: TestPrompt) -> Rows:
        """Run a prompt and return its row.

        Raises:
            StageError: its rows cannot be read, or it cannot be run.

        """
        started = time.perf_counter()
        try:
            graph = read_circuit(self._source, prompt, self._partners)
        except Exception as error:
            raise StageError("read", error) from error
        try:
            clean, entries = run_prompt(
                self._model, graph, prompt.roles, self.circuits, prompt.own, prompt.others, self.draws
            )
        except Exception as error:
            raise StageError("validation", error) from error
        row = {"prompt_key": prompt.key, "id": prompt.id, "clean": clean, "effects": entries}
        table = pa.Table.from_pylist([row], CIRCUIT_RUN_TABLES["circuit_effects"].schema)
        return Rows({"circuit_effects": table}, Seconds(validation=time.perf_counter() - started))
