"""The part of a prompt's graph that `circuit-sweep show --nodes` names, and its scores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import ConfigurationError
from pipeline.features import FeatureName, parse_feature

if TYPE_CHECKING:
    from pipeline.graph import AttributionGraph
    from pipeline.results import Results

SUPERNODE = re.compile(r"supernode:(\d+)", re.ASCII)

Node = tuple[int, int, int]
"""(layer, position, feature)."""


@dataclass(frozen=True)
class Subgraph:
    """Scores of some features of a graph, everything else counted as errors."""

    features: int
    """Features that were named, a feature once for each position."""

    replacement_score: float
    completeness_score: float


def score_subgraph(graph: AttributionGraph, names: Sequence[str], results: Results) -> Subgraph:
    """Score the part of a graph that is named.

    Args:
        graph: the whole graph.
        names: features (`2/350@8`; `2/350` wherever it is active) and supernodes (`supernode:3`).
        results: where supernodes are.

    Raises:
        ConfigurationError: a name is spelt wrong or names nothing that is active on the prompt.

    """
    from pipeline.graph import subgraph_scores

    active = [tuple(node) for node in graph.active_features[graph.expanded].tolist()]
    chosen = {node for name in names for node in _nodes(name, active, graph.n_positions, results)}
    return Subgraph(len(chosen), *subgraph_scores(graph, chosen))


def _nodes(name: str, active: list[Node], positions: int, results: Results) -> Iterator[Node]:
    if (match := SUPERNODE.fullmatch(name)) is not None:
        rows = results.sql(f"select layer, feature from supernodes where supernode = {match[1]}").fetchall()
        found = [node for node in active if (node[0], node[2]) in set(rows)]
    else:
        layer, feature, position = parse_feature(name)
        if position is not None:
            position = position % positions if -positions <= position < positions else position
            yield layer, position, feature  # one that is not there is refused with what is
            return
        found = [node for node in active if (node[0], node[2]) == (layer, feature)]
    if not found:
        example = FeatureName(active[-1][0], active[-1][2]) if active else "none, it has no features"
        raise ConfigurationError(
            f"--nodes {name}: no such feature is active on the prompt and has a row; one that is: {example}."
        )
    yield from found
