"""The small circuit beside thresholds and simpler choices of as many features, on the built-in models.

Of every prompt features are chosen in several ways, and each choice is tested as `validate` tests circuits:
necessity (the share of what is at stake that is lost when it is set to 0) and sufficiency (the share that is
left when all other active features are), in the model with patterns held and in the replacement run.

- small: greedy by completeness, up to the budget (`pruning.small`).
- influence, write norm: as many features, those of most influence, and those of the largest |activation| x
  |decoder|.
- any: as many features, drawn from all that are active.
- thresholds: what pruning keeps by default, however many that are.

Shares are medians over prompts; intervals resample families of prompts whole (of `english`: word classes).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from pipeline.attribution import attribute
from pipeline.benchmark.report import Report, Settings
from pipeline.builtin import NAMES, resolve
from pipeline.graph import AttributionGraph, NodeKind, influence, prune, small_circuit, subgraph_scores
from pipeline.intervention import DEFAULT, REPLACEMENT, BaseRun, InterventionBatch
from pipeline.model import ReplacementModel, TracedTokens
from pipeline.validation import median_interval
from pipeline.validation.faithfulness import OutputMetrics, circuit_of, write_norms

BUDGET, PROMPTS = 10, 60
"""Features of a small circuit, and prompts of each model, spread over its families."""

LEAST_LOGITS = 0.1
"""Logits that the features must decide for a share of them to mean something."""

FAMILY = {"demo": "family", "english": "class"}
CHOICES = ("small", "influence", "write norm", "any", "thresholds")
MEASURES = ("completeness", "necessity", "sufficiency", "necessity, replaced", "sufficiency, replaced")

Features = list[int]
"""Indices into the active features."""


@dataclass(frozen=True)
class Tested:
    """One prompt: features and the five measures of each choice, in the order of `CHOICES`."""

    family: str
    sizes: tuple[int, ...]
    measures: np.ndarray
    """Choices by measures."""


def choices(
    model: ReplacementModel, graph: AttributionGraph, random: np.random.Generator
) -> dict[str, Features]:
    """Choose features of a graph in every way; all active features must have a row."""
    small = small_circuit(graph, BUDGET).nodes.tolist()
    pruned = prune(graph)
    flow = influence(graph.edges, graph.target_probabilities, graph.node_index().is_node)
    of_features = flow.sources[graph.edges.sources.features]
    active = graph.active_features.numpy().astype(np.int64)
    norms = write_norms(model, active, graph.activations.numpy().astype(float))
    count = len(small)
    return {
        "small": small,
        "influence": of_features.argsort(descending=True, stable=True)[:count].tolist(),
        "write norm": np.argsort(-norms, kind="stable")[:count].tolist(),
        "any": random.choice(len(active), count, replace=False).tolist(),
        "thresholds": pruned.node[pruned.kind == NodeKind.FEATURE].tolist(),
    }


def tested(model: ReplacementModel, text: str, family: str, random: np.random.Generator) -> Tested | None:
    """Test every choice of a prompt's features; None where the features decide next to nothing."""
    graph = attribute(model, text)
    chosen = choices(model, graph, random)
    features = graph.active_features
    names = [tuple(name) for name in features.tolist()]
    measures = [[subgraph_scores(graph, [names[i] for i in found])[1] for found in chosen.values()]]
    base = BaseRun.of(model, [TracedTokens(tuple(graph.input_tokens.tolist()))])
    metrics = OutputMetrics.of(base, circuit_of(graph, prune(graph)).targets)
    clean = float(metrics.observe_clean()[3])
    everything = np.arange(len(features))
    sets = [features]
    for found in chosen.values():
        sets += [features[found], features[np.setdiff1d(everything, found)]]
    for mode in (DEFAULT, REPLACEMENT):
        none, *values = metrics.run(base, InterventionBatch.ablating(base, sets), mode).value
        if abs(clean - none) < LEAST_LOGITS:
            return None
        kept = (np.array(values) - none) / (clean - none)
        measures += [(1 - kept[::2]).tolist(), kept[1::2].tolist()]
    return Tested(family, tuple(map(len, chosen.values())), np.array(measures).T)


def report(settings: Settings) -> Report:
    """Test prompts of both built-in models."""
    rows = []
    for name in NAMES:
        paths = [resolve(name, part) for part in ("model", "transcoders")]
        model = ReplacementModel.from_pretrained(paths[0], transcoders=paths[1], device=settings.device)
        prompts = pq.read_table(resolve(name, "prompts")).to_pylist()
        random = np.random.default_rng(0)
        found = [
            tested(model, row["prompt"], row[FAMILY[name]], random)
            for row in prompts[:: -(-len(prompts) // PROMPTS)]
        ]
        rows += list(_rows(name, [one for one in found if one is not None]))
    remarks = (
        f"Up to {PROMPTS} prompts of each model, spread over its families; at most {BUDGET} features in a "
        "small circuit, and as many of each other choice but thresholds. Medians; 95% intervals, of the "
        "small circuit and of its lead over each other choice (paired, prompt by prompt), by family. "
        "Necessity: share of what is at stake that is lost when the choice is set to 0; sufficiency: that is "
        "left when all other features are. Patterns held; replaced: the dictionary in place of the MLPs."
    )
    return Report(("features", "of them", *MEASURES), tuple(rows), remarks)


def _rows(name: str, found: list[Tested]) -> Iterator[tuple[str, ...]]:
    clusters = np.unique([one.family for one in found], return_inverse=True)[1]
    values = np.stack([one.measures for one in found])
    for index, choice in enumerate(CHOICES):
        count = f"{np.median([one.sizes[index] for one in found]):.0f}"
        own = [median_interval(values[:, index, m], clusters=clusters) for m in range(len(MEASURES))]
        if index == 0:
            yield (f"{name}, {choice}", count, *(_interval(*median) for median in own))
            continue
        lead = values[:, 0] - values[:, index]
        leads = [median_interval(lead[:, m], clusters=clusters) for m in range(len(MEASURES))]
        yield (f"{name}, {choice}", count, *(f"{median[0]:.2f}" for median in own))
        yield (f"  small less {choice}", "", *(_interval(*median) for median in leads))


def _interval(median: float, low: float | None, high: float | None) -> str:
    # On two lines, so that all columns fit beside one another.
    return f"{median:.2f}" if low is None else f"{median:.2f}\n{low:.2f}..{high:.2f}"
