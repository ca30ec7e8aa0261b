"""The work of a validation: a stored graph, tests of its circuit, rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from pipeline.runtime import Rows, StageError, WorkerResources
from pipeline.seconds import Seconds
from pipeline.store import Output
from pipeline.sweep_model import SweepModel
from pipeline.validation.config import ValidationConfig
from pipeline.validation.faithfulness import GraphValidation, validate_graph
from pipeline.validation.stored_circuits import StoredGraph, read_circuit, read_partners
from schemas import VALIDATION_TABLES, Table


@dataclass
class ValidationWork:
    """Tests of a sweep's circuits by interventions in its model, a graph at a time."""

    sweep: str
    """URL of the sweep's output."""

    config: ValidationConfig
    model: SweepModel
    """Model and transcoders of the sweep."""

    lazy_encoder: bool = False
    """Leave the encoders in their files."""

    memory_bytes: int | None = None
    """Memory of one worker, where it is known."""

    tables: ClassVar[tuple[Table, ...]] = tuple(VALIDATION_TABLES.values())

    def load(self, resources: WorkerResources, output: Output) -> None:
        """Load the sweep's model.

        Raises:
            ConfigurationError: the sweep has no column of the name given for pairs.
            ModelError: it cannot be loaded.
            TranscoderError: the transcoders cannot be read, or do not fit the model.

        """
        torch.set_num_threads(resources.threads)
        self._model = self.model.load(resources.devices, self.lazy_encoder)
        self._source, self._run_key = Output(self.sweep), output.claimed().run_key
        self._partners = read_partners(self._source, self.config.pair)

    def do(self, graph: StoredGraph) -> Rows:
        """Test a graph and return its rows.

        Raises:
            StageError: its rows cannot be read, or it cannot be tested.

        """
        started = time.perf_counter()
        seed = self.config.seed
        try:
            circuit = read_circuit(self._source, graph, self._partners)
        except Exception as error:
            raise StageError("read", error) from error
        random = np.random.default_rng([seed, graph.key % 2**64])
        try:
            tested = validate_graph(self._model, circuit, self.config, random)
        except Exception as error:
            raise StageError("validation", error) from error
        tables = _tables(tested, graph, self._run_key, seed)
        return Rows(tables, Seconds(validation=time.perf_counter() - started))


def _tables(tested: GraphValidation, graph: StoredGraph, run_key: int, seed: int) -> dict[str, pa.Table]:
    named = {"prompt_key": graph.key}
    row = named | {"id": graph.id, "run_key": run_key, "seed": seed, "created": datetime.now(UTC)}
    return {
        "faithfulness": _table("faithfulness", [row | tested.faithfulness]),
        "validations": _table("validations", [named | test for test in tested.validations]),
    }


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=VALIDATION_TABLES[name].schema)
