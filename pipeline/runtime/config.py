"""The settings of the worker processes, the same for every kind of work."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.configuration import Count, Section


class WorkersConfig(Section):
    """Worker processes, and their resources."""

    replicas: Count | Literal["auto"] = "auto"
    """Copies of the model (default: one per GPU; without GPUs, the most that cores and memory allow; more as
    machines join)."""

    min_replicas: Annotated[int, Field(ge=0)] = 0
    """With `auto`: ask for this many even where they do not fit yet. A cluster that grows with demand
    brings machines for them; name gpus_per_replica, so that it knows which."""

    max_replicas: Count | None = None
    """With `auto`: maximum number of copies (default: as many as fit)."""

    gpus_per_replica: Annotated[float, Field(ge=0, allow_inf_nan=False)] | Literal["auto"] = "auto"
    """GPUs that one copy owns (default: 1 where the cluster has any, else 0). With 0.25 four share one, which
    short prompts of a small model do not fill alone."""

    cores_per_replica: Count | Literal["auto"] = "auto"
    """Cores, and torch threads, of one copy (default: the cluster's cores shared out evenly)."""

    prompt_seconds: Annotated[float, Field(gt=0)] = 3600.0
    """Limit for one prompt: one that takes longer, or hangs, fails, and its worker is replaced."""

    @field_validator("gpus_per_replica")
    @classmethod
    def _whole_or_a_share(cls, value: float | str) -> float | str:
        if isinstance(value, float) and value > 1 and value != int(value):
            raise ValueError(
                f"is {value:g}: above 1 a copy owns whole GPUs; give {int(value)} or a share of one"
            )
        return value

    @model_validator(mode="after")
    def _bounds_of_auto(self) -> WorkersConfig:
        bounds = {"min_replicas": self.min_replicas, "max_replicas": self.max_replicas}
        given = {name: value for name, value in bounds.items() if value}
        if given and self.replicas != "auto":
            name, value = next(iter(given.items()))
            raise ValueError(
                f"sets {name} to {value}, but replicas to {self.replicas}: leave one of them out"
            )
        if self.max_replicas and self.min_replicas > self.max_replicas:
            raise ValueError(f"has min_replicas {self.min_replicas} above max_replicas {self.max_replicas}")
        if self.min_replicas and self.gpus_per_replica == "auto":
            raise ValueError(
                f"asks for min_replicas {self.min_replicas} whatever machines there are: set "
                "gpus_per_replica too, to 0 for machines without GPUs, so that it is known what to wait for"
            )
        return self
