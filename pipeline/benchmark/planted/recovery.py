"""Precision and recall of methods that look for a group's circuit, on models where it is known.

The competitors are what one does without a method of one's own:

- mean graph: edges whose influence, averaged over the group's prompts, is at least 5% of the largest; the
  nodes that they join.
- top influence: the 10 features of most influence, and the kept edges between them.
- attribution patching (EAP): the 10 features of the largest |activation x gradient of the answer|, and the
  edges between them that carry at least 5% of the largest |effect through the edge|. On the frozen model
  gradients are the graph's own: sums over all paths, here of its kept edges.

`circuit-sweep discover` stands in the same table; it alone can say that there is nothing.

Where noise is so large that the model no longer answers a group's prompts, its circuit is broken, and the
group is left out.

Labels that are noise (dealt out anew over prompts) have no circuits: all that is claimed there is
false.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pipeline.attribution import attribute
from pipeline.benchmark.planted.checkpoint import (
    CAPITALS,
    LOGIT,
    PROMPTS,
    STATES,
    Node,
    Truth,
    write_planted,
)
from pipeline.benchmark.planted.discovery import PromptRows, discovered
from pipeline.benchmark.report import Report, Settings
from pipeline.graph import NodeKind, prune, stability
from pipeline.hub import Neurons
from pipeline.model import ReplacementModel

SHARE, TOP = 0.05, 10
"""Share of the largest edge, and number of features, that the competitors keep."""

NODES, EDGES = 0.95, 0.99
"""Thresholds of pruning: at the usual 0.8 of influence the inhibitors are gone before a method sees them."""

NOISES = (0.0, 0.05, 0.1)
"""Sizes of noise neurons' weights."""

DRAWS = 40
"""Times that labels are dealt out anew."""

Edge = tuple[Node, Node]


@dataclass(frozen=True)
class Traced:
    """What methods see of one prompt: nodes and edges of its pruned graph, positions collapsed."""

    influence: dict[Node, float]
    edges: dict[Edge, float]
    """Influence that flows over each."""

    effects: dict[Node, float]
    """|activation x gradient| of each node."""

    edge_effects: dict[Edge, float]
    """|effect| on what is explained through each edge."""

    rows: PromptRows
    """The same graph as a sweep stores it."""


@dataclass(frozen=True)
class Recovery:
    """A method's circuits against the planted ones, mean over groups."""

    node_precision: float
    node_recall: float
    edge_precision: float
    edge_recall: float
    claimed: float
    """Nodes that it claims for a group."""


Found = tuple[set[Node], set[Edge]]
Method = Callable[[Sequence[Traced], Sequence[str]], dict[str, Found]]
"""From prompts and the group of each to the circuits of groups."""


def trace(model: ReplacementModel, text: str) -> Traced:
    """Trace one prompt."""
    graph = attribute(model, text)
    pruned = prune(graph, NODES, EDGES)
    kinds, layer, feature = (column.tolist() for column in (pruned.kind, pruned.layer, pruned.feature))
    names: list[Node | None] = [
        (layer[i], feature[i]) if kind == NodeKind.FEATURE else LOGIT if kind == NodeKind.LOGIT else None
        for i, kind in enumerate(kinds)
    ]
    ends = list(zip(pruned.source.tolist(), pruned.target.tolist(), strict=True))
    weights, activations = pruned.weight.tolist(), pruned.activation.tolist()
    node_effects = _effects(names, ends, weights, activations)
    influence: dict[Node, float] = {}
    effects: dict[Node, float] = {}
    for i, name in enumerate(names):
        if name is not None and name != LOGIT:
            influence[name] = influence.get(name, 0.0) + float(pruned.influence[i])
            effects[name] = effects.get(name, 0.0) + abs(node_effects[i])
    edges: dict[Edge, float] = {}
    edge_effects: dict[Edge, float] = {}
    for (source, target), weight, flow in zip(ends, weights, pruned.edge_influence.tolist(), strict=True):
        one, other = names[source], names[target]
        if one is not None and other is not None:
            through = weight if other == LOGIT else weight * node_effects[target] / activations[target]
            edges[one, other] = edges.get((one, other), 0.0) + flow
            edge_effects[one, other] = edge_effects.get((one, other), 0.0) + abs(through)
    rows = PromptRows.of(graph, pruned, stability(graph, pruned))
    return Traced(influence, edges, effects, edge_effects, rows)


def _effects(
    names: list[Node | None], ends: list[tuple[int, int]], weights: list[float], activations: list[float]
) -> list[float]:
    """Return activation times gradient of the answer, of each node, over all paths of kept edges."""
    effects = [0.0] * len(names)
    by_layer = sorted(range(len(ends)), key=lambda e: -(names[ends[e][1]] or LOGIT)[0])
    for edge in by_layer:  # an edge's target is done when its layer is
        source, target = ends[edge]
        if names[target] == LOGIT:
            effects[source] += weights[edge]
        elif names[target] is not None:
            effects[source] += weights[edge] * effects[target] / activations[target]
    return effects


def _mean(parts: Sequence[dict]) -> dict:
    """Return the mean over prompts, with 0 where a prompt has none."""
    return {
        key: sum(part.get(key, 0.0) for part in parts) / len(parts)
        for key in {k for part in parts for k in part}
    }


def _strongest(scores: dict[Node, float]) -> set[Node]:
    return set(sorted(scores, key=lambda node: (-scores[node], node))[:TOP])


def _within(nodes: set[Node], edges: dict[Edge, float], share: float) -> set[Edge]:
    least = share * max(edges.values(), default=0.0)
    return {
        (one, other)
        for (one, other), amount in edges.items()
        if amount >= least and one in nodes and other in nodes | {LOGIT}
    }


def mean_graph(prompts: Sequence[Traced]) -> tuple[set[Node], set[Edge]]:
    """Keep the strong edges of the mean graph, and the nodes that they join."""
    edges = _mean([prompt.edges for prompt in prompts])
    kept = _within({node for edge in edges for node in edge}, edges, SHARE)
    return {node for edge in kept for node in edge} - {LOGIT}, kept


def top_influence(prompts: Sequence[Traced]) -> tuple[set[Node], set[Edge]]:
    """Keep the features of most influence."""
    nodes = _strongest(_mean([prompt.influence for prompt in prompts]))
    return nodes, _within(nodes, _mean([prompt.edges for prompt in prompts]), 0.0)


def attribution_patching(prompts: Sequence[Traced]) -> tuple[set[Node], set[Edge]]:
    """Keep the features of the largest effect by gradient, and the edges that carry it."""
    nodes = _strongest(_mean([prompt.effects for prompt in prompts]))
    return nodes, _within(nodes, _mean([prompt.edge_effects for prompt in prompts]), SHARE)


def _of_each_group(method: Callable[[Sequence[Traced]], Found]) -> Method:
    def of_groups(prompts: Sequence[Traced], labels: Sequence[str]) -> dict[str, Found]:
        named = list(zip(prompts, labels, strict=True))
        return {group: method([one for one, label in named if label == group]) for group in set(labels)}

    return of_groups


def discover(prompts: Sequence[Traced], labels: Sequence[str]) -> dict[str, Found]:
    """Find circuits as `circuit-sweep discover` does, in all prompts; the union of a group's circuits."""
    return discovered([prompt.rows for prompt in prompts], labels, LOGIT)


METHODS: dict[str, Method] = {
    "discover": discover,
    "mean graph": _of_each_group(mean_graph),
    "top influence": _of_each_group(top_influence),
    "attribution patching": _of_each_group(attribution_patching),
}
"""Methods by the name of their row."""


def recovered(
    method: Method, prompts: Sequence[Traced], labels: Sequence[str], truths: dict[str, Truth]
) -> Recovery:
    """Compare what a method finds for each group of labelled prompts with what was planted."""
    rows, found = [], method(prompts, labels)
    for group, truth in truths.items():
        nodes, edges = found.get(group, (set(), set()))
        rows.append((*_rates(nodes, truth.nodes), *_rates(edges, truth.edges), len(nodes)))
    return Recovery(*np.mean(rows, axis=0).tolist())


def answers(prompts: Sequence[Traced], group: str) -> bool:
    """True if the model answers all prompts of a group right."""
    answer = dict(zip(STATES, CAPITALS, strict=True)).get(group, group)
    named = zip(prompts, PROMPTS, strict=True)
    return all(traced.rows.prediction == answer for traced, (_, label) in named if label == group)


def _rates(found: set, planted: frozenset) -> tuple[float, float]:
    """Return precision and recall; precision is 1 of nothing."""
    right = len(found & planted)
    return right / len(found) if found else 1.0, right / len(planted)


def report(settings: Settings) -> Report:
    """Measure all methods at every size of noise, and what they claim where labels are noise."""
    rows = []
    for noise in NOISES:
        with TemporaryDirectory(prefix="circuit-sweep-") as folder:
            truths = write_planted(Path(folder), noise)
            model = ReplacementModel.from_pretrained(
                folder, transcoders=Neurons().name, device=settings.device
            )
            prompts = [trace(model, text) for text, _ in PROMPTS]
        labels = [state for _, state in PROMPTS]
        works = {group: truth for group, truth in truths.items() if answers(prompts, group)}
        random = np.random.default_rng(0)
        dealt = [random.permutation(labels).tolist() for _ in range(DRAWS)]
        for name, method in METHODS.items():
            found = recovered(method, prompts, labels, works)
            of_noise = [recovered(method, prompts, given, truths).claimed for given in dealt]
            rates = (found.node_precision, found.node_recall, found.edge_precision, found.edge_recall)
            cells = (*(f"{rate:.2f}" for rate in rates), f"{found.claimed:.1f}", f"{np.mean(of_noise):.1f}")
            share = np.mean([claimed > 0 for claimed in of_noise])
            rows.append((f"{noise:g}", f"{len(works)}", name, *cells, f"{share:.0%}"))
    columns = ("noise", "work", "method", "nodes", "found", "edges", "found", "claimed", "on noise", "draws")
    remarks = (
        f"{len(truths)} circuits in a model written by hand, {len(PROMPTS)} prompts; means over circuits "
        f"that "
        "work: those whose prompts the model answers in spite of the noise. "
        "Nodes, edges: share of what is claimed that is right (precision); found: share of what was planted "
        "(recall). Noise: size of the noise neurons' weights, the circuits' being about 1. Claimed: nodes "
        f"for a circuit. On noise: the same where labels are dealt out anew over prompts, mean of {DRAWS} "
        "draws, so that nothing should be; draws: the share of them in which anything is claimed, for "
        "discover at most 5%."
    )
    return Report(columns, tuple(rows), remarks)
