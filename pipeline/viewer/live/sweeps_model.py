"""The sweep's model in its own process, with clean runs and whole graphs of the prompts asked about last."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from pipeline.graph import AttributionGraph
from pipeline.intervention import BaseRun
from pipeline.model import ReplacementModel, token_text
from pipeline.retrace import retrace
from pipeline.store import Output
from pipeline.sweep import AttributionConfig, Engine, EngineConfig, PruningConfig
from pipeline.sweep_model import recorded_model
from pipeline.token_labels import printable_token
from pipeline.viewer.live.loaded import Loaded

BASE_RUNS = 8
"""Prompts whose clean runs are kept."""

WHOLE_GRAPHS = 2
"""Prompts whose whole graphs are kept."""


@dataclass
class SweepsModel:
    """The sweep's model as it was recorded, with clean runs of the prompts asked about last."""

    loaded: Loaded
    model: ReplacementModel
    engine: Engine
    bases: OrderedDict[tuple[int, ...], BaseRun] = field(default_factory=OrderedDict)
    graphs: OrderedDict[str, AttributionGraph] = field(default_factory=OrderedDict)
    """Whole graphs of the prompts whose parts were scored last."""

    numbers: itertools.count = field(default_factory=itertools.count)

    @property
    def device(self) -> torch.device:
        """The device that it is on."""
        return self.model.device

    def base(self, token_ids: Sequence[int]) -> BaseRun:
        """Return the clean run of a prompt."""
        key = tuple(token_ids)
        if key not in self.bases:
            self.bases[key] = BaseRun.of(self.model, [torch.tensor(key)])
            while len(self.bases) > BASE_RUNS:
                self.bases.popitem(last=False)
        self.bases.move_to_end(key)
        return self.bases[key]

    def graph(self, prompt: Mapping[str, Any]) -> AttributionGraph:
        """Return the whole graph of a row of `graphs`."""
        key = str(prompt["prompt_key"])
        if key not in self.graphs:
            self.graphs[key] = retrace(
                Output(self.loaded.url), prompt, self.loaded.trust_remote_code, self.model
            )
            while len(self.graphs) > WHOLE_GRAPHS:
                self.graphs.popitem(last=False)
        self.graphs.move_to_end(key)
        return self.graphs[key]

    def label(self, token: int) -> str:
        """Return a token as people read it."""
        return printable_token(token_text(self.model.tokenizer, token))


def open_model(loaded: Loaded) -> SweepsModel:
    """Load the model of a sweep exactly as it was.

    Raises:
        ConfigurationError: its files changed since the sweep.
        ModelError, TranscoderError: they cannot be loaded.

    """
    output = Output(loaded.url)
    run, recorded = output.claimed().run, recorded_model(output, loaded.trust_remote_code)
    model = recorded.load(loaded.device)
    rules = {name: value for name, value in run["attribution"].items() if name != "targets"}
    config = EngineConfig(
        model=recorded.model.name,
        transcoders=recorded.transcoders.name,
        dtype=recorded.dtype,
        attribution=AttributionConfig.model_validate(rules),
        pruning=PruningConfig.model_validate(run["pruning"]),
        zero_positions=recorded.zero_positions,
    )
    return SweepsModel(loaded, model, Engine(config, model))
