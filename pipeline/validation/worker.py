"""One replica of a validation: loads the model once, then tests graph after graph.

It is a sweep's worker that does other work with a shard, so its deaths, retries and commits are the
driver's business in the same way.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from pipeline.runtime import StageError, Tables, Worker
from pipeline.store import Output
from pipeline.sweep_model import SweepModel
from pipeline.validation.config import ValidationConfig
from pipeline.validation.graph_validation import GraphValidation, validate_graph
from pipeline.validation.output import ValidationOutput
from pipeline.validation.stored_circuits import GraphPrompt, read_circuit
from schemas import VALIDATION_TABLES


@dataclass(frozen=True)
class JudgeConfig:
    """What a worker of a validation needs to know."""

    model: SweepModel
    """Model and transcoders of the sweep."""

    lazy_encoder: bool
    """Leave the encoders in their files."""

    sweep: str
    """URL of the sweep's output."""

    validation: ValidationConfig

    @property
    def kind(self) -> type[Worker]:
        """The class that does the work."""
        return Judge


class Judge(Worker):
    """Tests, writes and commits shards."""

    config: JudgeConfig

    def _load(self) -> None:
        torch.set_num_threads(self.threads)
        self.model = self.config.model.load(self.devices(), self.config.lazy_encoder)
        self.source = Output(self.config.sweep)
        self.output = ValidationOutput(self.config.sweep)

    def _trace(self, prompt: GraphPrompt, run_key: int, seconds: Counter[str]) -> Tables:
        started = time.perf_counter()
        seed = self.config.validation.seed
        try:
            circuit = read_circuit(self.source, prompt)
        except Exception as error:
            raise StageError("read", error) from error
        random = np.random.default_rng([seed, prompt.prompt_key % 2**64])
        try:
            verdict = validate_graph(self.model, circuit, self.config.validation, random)
        except Exception as error:
            raise StageError("validation", error) from error
        seconds["validation"] += time.perf_counter() - started
        return _tables(verdict, prompt, run_key, seed)


def _tables(verdict: GraphValidation, prompt: GraphPrompt, run_key: int, seed: int) -> Tables:
    named = {"prompt_key": prompt.prompt_key}
    row = named | {"id": prompt.id, "run_key": run_key, "seed": seed, "created": datetime.now(UTC)}
    return {
        "faithfulness": _table("faithfulness", [row | verdict.faithfulness]),
        "validations": _table("validations", [named | test for test in verdict.validations]),
    }


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=VALIDATION_TABLES[name].schema)
