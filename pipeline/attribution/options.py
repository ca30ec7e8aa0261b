"""The options of attribution: what is explained by default, which features get a row, in which precision.

The same class stands behind `attribute(options=...)`, the section `attribution` of a sweep file and the
planner, so a new option is a field here and the line that uses it. Light: a command's `--help` shows these
fields and must not wait for torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigurationError

Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]

Precision = Literal["float32", "tf32", "bfloat16"]
"""`float32` stands for the precision that the model was loaded in."""


class AttributionOptions(BaseModel):
    """Options of attribution for one prompt."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )

    max_feature_nodes: Count | None = None
    """Maximum number of features that get a row, chosen by influence as circuit-tracer does
    (default: all active features)."""

    tolerance: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Add rows for the most influential features until the others hold less than this share of influence
    (default: all active features)."""

    edges_per_row: Count | None = None
    """Keep errors, tokens and this many of each row's strongest feature edges: for prompts of thousands of
    tokens (default: all edges)."""

    precision: Precision = "float32"
    """Precision of the matrix products that make rows; `tf32` needs a GPU, `float32` stands for `dtype`."""

    position: int = -1
    """Explain what the model says after this position, the opening special token being 0; later tokens are
    cut off, since nothing flows back from them (default: the last)."""

    max_targets: Count = 10
    """Maximum number of most likely next tokens to explain (circuit-tracer: max_n_logits)."""

    target_probability: Share = 0.95
    """Stop adding targets once their probability reaches this share (circuit-tracer: desired_logit_prob)."""

    batch_size: Count = 512
    """Features that get a row at a time when `max_feature_nodes` is set."""

    update_interval: Count = 4
    """Batches between two updates of the influence that ranks the features."""

    def __init__(self, **values: Any) -> None:
        """Check every option.

        Raises:
            ConfigurationError: naming each option that is not right, its value and the rule.

        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigurationError(" ".join(map(_problem, error.errors()))) from error

    def max_rows(self, active: float) -> float:
        """Return how many of `active` features may get a row."""
        return active if self.max_feature_nodes is None else min(active, self.max_feature_nodes)

    def expands_all(self, n_active: int) -> bool:
        """Say if every one of `n_active` features gets a row."""
        return self.tolerance is None and self.max_rows(n_active) == n_active


def _problem(problem: Any) -> str:
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        known = ", ".join(AttributionOptions.model_fields)
        return f"{name} is not an option of attribution; these are: {known}."
    return f"{name} is {problem['input']!r}; it {problem['msg'].removeprefix('Input ')}."
