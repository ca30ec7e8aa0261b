"""The work of `pairs`: a stored graph and its partner's, patches between them, rows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import pyarrow as pa
import torch

from pipeline.errors import PromptError
from pipeline.runtime import Rows, StageError, WorkerResources
from pipeline.seconds import Seconds
from pipeline.store import Output
from pipeline.sweep_model import SweepModel
from pipeline.validation.pairs.config import PairTests
from pipeline.validation.pairs.matching import PairedPrompt
from pipeline.validation.pairs.measure import PairMeasured, measure_pair
from pipeline.validation.pairs.runs import Cell, Edge, Pair
from pipeline.validation.stored_circuits import features_of, read_rows
from schemas import PAIR_TABLES, Table


@dataclass
class PairWork:
    """Patches between the prompts of a sweep's pairs, a prompt at a time."""

    sweep: str
    """URL of the sweep's output."""

    config: PairTests
    model: SweepModel
    """Model and transcoders of the sweep."""

    lazy_encoder: bool = False
    """Leave the encoders in their files."""

    memory_bytes: int | None = None
    """Memory of one worker, where it is known."""

    tables: ClassVar[tuple[Table, ...]] = tuple(PAIR_TABLES.values())

    def load(self, resources: WorkerResources, output: Output) -> None:
        """Load the sweep's model.

        Raises:
            ModelError: it cannot be loaded.
            TranscoderError: the transcoders cannot be read, or do not fit the model.

        """
        torch.set_num_threads(resources.threads)
        self._model = self.model.load(resources.devices, self.lazy_encoder)
        self._source, self._run_key = Output(self.sweep), output.claimed().run_key

    def do(self, prompt: PairedPrompt) -> Rows:
        """Patch a prompt with its partner's activations and return its rows.

        Raises:
            StageError: its rows cannot be read, or it cannot be patched.

        """
        started = time.perf_counter()
        try:
            pair = read_pair(self._source, prompt)
        except Exception as error:
            raise StageError("read", error) from error
        try:
            measured = measure_pair(self._model, pair, self.config)
        except Exception as error:
            raise StageError("pairs", error) from error
        return Rows(
            _tables(prompt, measured, self._run_key), Seconds(validation=time.perf_counter() - started)
        )


def read_pair(source: Output, prompt: PairedPrompt) -> Pair:
    """Read a prompt's graph and its partner's.

    Raises:
        PromptError: what one of them explains is no token, nor a difference of two.

    """
    own = _graph(source, prompt.key, prompt.files)
    partner = _graph(source, prompt.partner_key, prompt.partner_files)
    answer, rival = _answers(own["targets"][0], partner["targets"][0])
    return Pair(
        token_ids=tuple(own["token_ids"]),
        partner_ids=tuple(partner["token_ids"]),
        answer=answer,
        rival=rival,
        kept=_kept(source, prompt.key, prompt.files),
        partner_kept=_kept(source, prompt.partner_key, prompt.partner_files),
        edges=_edges(source, prompt.key, prompt.files),
    )


def _graph(source: Output, key: int, files: Mapping[str, str]) -> dict[str, Any]:
    (row,) = read_rows(source, "graphs", files, [key]).to_pylist()
    return row


def _answers(target: Mapping[str, Any], partners: Mapping[str, Any]) -> tuple[int, int]:
    """Return the token of the answer and that of the partner's."""
    if target["kind"] == "difference":
        return tuple(target["token_ids"])
    if target["kind"] != "token" or partners["kind"] not in ("token", "difference"):
        kind = target["kind"] if target["kind"] != "token" else partners["kind"]
        raise PromptError(
            f"its graph explains a {kind}, but pairs are compared by their answers: sweep with tokens, or a "
            "difference of two, as targets."
        )
    return target["token_ids"][0], partners["token_ids"][0]


def _kept(source: Output, key: int, files: Mapping[str, str]) -> dict[Cell, float]:
    nodes = read_rows(source, "nodes", files, [key])
    nodes = nodes.filter(pa.compute.equal(nodes["kind"], "feature"))
    cells = map(tuple, features_of(nodes).tolist())
    return dict(zip(cells, nodes["influence"].to_pylist(), strict=True))


def _edges(source: Output, key: int, files: Mapping[str, str]) -> list[Edge]:
    """Return the kept edges from features to features, and to the first target."""
    found = read_rows(source, "edges", files, [key]).filter(pa.compute.field("source_kind") == "feature")
    edges = []
    for kind in ("feature", "logit"):
        rows = found.filter(pa.compute.field("target_kind") == kind)
        if kind == "logit":
            rows = rows.filter(pa.compute.field("target_index") == 0)
        targets = (
            [None] * rows.num_rows if kind == "logit" else map(tuple, features_of(rows, "target_").tolist())
        )
        sources = map(tuple, features_of(rows, "source_").tolist())
        edges += map(Edge, sources, targets, rows["influence"].to_pylist())
    return edges


def _tables(prompt: PairedPrompt, measured: PairMeasured, run_key: int) -> dict[str, pa.Table]:
    named = {"prompt_key": prompt.key}
    row = named | {
        "id": prompt.id,
        "partner_key": prompt.partner_key,
        "partner_id": prompt.partner_id,
        "pair": prompt.pair,
        "role": prompt.role,
        "run_key": run_key,
        "created": datetime.now(UTC),
    }
    return {
        "pairs": _table("pairs", [row | measured.pair]),
        "pair_effects": _table("pair_effects", [named | effect for effect in measured.effects]),
    }


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=PAIR_TABLES[name].schema)
