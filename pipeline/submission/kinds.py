"""What may be a job, a sweep or the training of a dictionary: its command, and the inputs that it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.sweep import SweepConfig
from pipeline.training import DictionaryConfig

JobConfig = SweepConfig | DictionaryConfig


@dataclass(frozen=True)
class Input:
    """One name in a configuration of something that is read."""

    key: str
    """Key of the configuration."""

    value: str
    kind: Literal["model", "transcoders", "prompts"]
    """How it is looked up: as a model, as a dictionary, or as files of text."""


@dataclass(frozen=True)
class JobKind:
    """A kind of job."""

    file: str
    """Name of the configuration's file in the folder that travels."""

    module: str
    """Module that is run with it."""

    @property
    def command(self) -> tuple[str, ...]:
        """Command of a job; by `exec`, so that a signal reaches the module and no shell around it."""
        return ("exec", "python", "-m", self.module, self.file)


SWEEP = JobKind("sweep.yaml", "jobs.run")
TRAINING = JobKind("dictionary.yaml", "jobs.train")


def kind_of(config: JobConfig) -> JobKind:
    """Return the kind of job that runs a configuration."""
    return SWEEP if isinstance(config, SweepConfig) else TRAINING


def inputs_of(config: JobConfig) -> list[Input]:
    """Return what a configuration reads."""
    model = Input("model", config.model, "model")
    if isinstance(config, SweepConfig):
        return [
            model,
            Input("transcoders", config.transcoders, "transcoders"),
            Input("prompts", config.prompts.source, "prompts"),
        ]
    start = [] if config.start is None else [Input("start", config.start, "transcoders")]
    return [model, *start, Input("text", config.text.source, "prompts")]


def with_paths(config: JobConfig, inputs: dict[str, str], output: str) -> Any:
    """Return a configuration with other names of its inputs, by key, and another output."""
    changes: dict[str, Any] = {**inputs, "output": output}
    for section in ("prompts", "text"):
        if section in changes:
            named = getattr(config, section)
            changes[section] = named.model_copy(update={"source": changes[section]})
    return config.model_copy(update=changes)
