"""A prompt that was traced, and one that could not be, as records that become rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from pipeline.version import ENGINE_VERSION

if TYPE_CHECKING:
    from pipeline.graph import AttributionGraph, HeadLoadings, PrunedGraph, QKAttribution, Stability


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class TracedPrompt:
    """A prompt with its graph, before and after pruning."""

    prompt_key: int
    """`keys.prompt_key` of its token ids, or `keys.position_key`."""

    id: str
    """The user's name for the prompt, or its number in the dataset; `name@position` of several positions."""

    run_key: int
    """`keys.run_key` of the sweep."""

    graph: AttributionGraph

    pruned: PrunedGraph
    """Nodes and edges that pruning kept."""

    stability: Stability
    """Shares of an ensemble of prunings that keep them."""

    replacement_score: float
    """Replacement score of the whole graph."""

    completeness_score: float
    """Completeness score of the whole graph."""

    unexpanded_influence: float
    """Share of influence that rests with features that were not expanded."""

    dropped_share: float
    """Share of all absolute edges that `edges_per_row` left out; 0 where it left out none."""

    constants_share: float
    """Share of the targets' input that constants carry."""

    pruning_seconds: float
    """Wall seconds of scores and pruning."""

    peak_bytes: int | None = None
    """Most memory in use while tracing, if it is known."""

    block_pairs: int | None = None
    """(row, position) pairs that went down together, if it is known."""

    opened_by: int = 0
    """Number of tokens that were put in front of the prompt."""

    head_loadings: HeadLoadings | None = None
    """Paths that carry its strongest edges, if they were asked for."""

    qk: QKAttribution | None = None
    """Scores of the heads that carry most, if they were asked for."""

    sequence: str | None = None
    """The user's name for the text that it is a position of (default: the prompt's own)."""

    sequence_key: int | None = None
    """`keys.prompt_key` of that text's token ids, targets left out (default: the prompt's own)."""

    generated: str | None = None
    """Text with which the model went on, where the position is of such."""

    generated_index: int | None = None
    """Index of the token in it that is explained."""

    extra_columns: Mapping[str, Any] = field(default_factory=dict)
    """Values of the extra columns."""

    created: datetime = field(default_factory=_now)
    """Time of tracing, UTC."""


@dataclass(frozen=True)
class FailedPrompt:
    """A prompt that could not be traced."""

    prompt_key: int
    """`keys.prompt_key` of its token ids, or `keys.text_key` of its text where tokens are what failed."""

    id: str
    """The user's name for the prompt, or its number in the dataset."""

    run_key: int
    """`keys.run_key` of the sweep."""

    text: str | None
    """The prompt as it was given."""

    stage: str
    """Stage at which it failed."""

    error_class: str
    message: str
    attempts: int = 1

    extra_columns: Mapping[str, Any] = field(default_factory=dict)
    """Values of the extra columns."""

    created: datetime = field(default_factory=_now)
    """Time of giving up, UTC."""


@cache
def versions() -> dict[str, str]:
    """Return the versions of what computes a graph, named as the columns of `graphs`."""
    packages = {"torch_version": "torch", "transformers_version": "transformers"}
    recorded = {column: _version(package) for column, package in packages.items()}
    return {"engine_version": ENGINE_VERSION, **recorded}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"
