"""QK attribution: why a head looks from one position at another.

With norms frozen, the query of a head and the key that it looks at are sums over what is written below:
features, errors and tokens at any position, each carried up the frozen residual stream, and a constant
(biases, learned positions). A score before the softmax is bilinear in the two, so it is exactly a sum over
pairs of a query's component and a key's (Kamath et al., Tracing attention computation through feature
interactions, Transformer Circuits 2025). Attention is a competition: a score matters by how far it is above
the others, so every part also comes as a contrast, its score less the mean of the other keys that the query
sees.

Each number of a query or key is read like a target of the graph, so one pass down gives its edges, h rows a
query and 2 h a key, and no autograd through the layers below. Of all pairs only the largest are stored; they
are found without making all: a pair is no larger than the product of its components' lengths.

Legend: S sources with the constant last, R rows, T positions, d model width, h head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import nan

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.attribution.attribution_pass import PassInputs, carry_down
from pipeline.attribution.row_blocks import RowBlock
from pipeline.attribution.source_vectors import source_vectors
from pipeline.graph import (
    AttributionGraph,
    Component,
    EdgePath,
    HeadLoadings,
    NodeKind,
    PrunedGraph,
    QKAttribution,
    ScorePart,
    SourceIndex,
)
from pipeline.model import QueriesKeys, ReplacementModel

LARGEST_PAIRS, LARGEST_COMPONENTS = 10, 5
"""Pairs, and components of query and key by themselves, that a score keeps of the largest; as many again of
the largest contrast."""

SEEDS = 64
"""Longest components whose pairs are looked at first: what the others must exceed."""

PAIRS_AT_ONCE = 1 << 22
"""Pairs that are multiplied out together."""

Look = tuple[int, int, int, int]
"""Layer, head, query's position, key's position."""

Name = tuple[int, int, int, int]
"""`Component`, layer, position, and feature or token id; -1 for what does not apply."""

_WHOLE: Name = (int(Component.WHOLE), -1, -1, -1)
_OTHER: Name = (int(Component.OTHER), -1, -1, -1)
_CONSTANT: Name = (int(Component.CONSTANT), -1, -1, -1)


def qk_attribution(
    model: ReplacementModel,
    graph: AttributionGraph,
    pruned: PrunedGraph,
    loadings: HeadLoadings,
    most: int = 10,
) -> QKAttribution:
    """Split the scores by which heads look where they find what a graph's strongest edges carry.

    Args:
        model: the model that the graph is of.
        graph: the graph, as `attribute` returned it.
        pruned: what pruning kept of it.
        loadings: heads that carry its edges, as `head_loadings` returned them.
        most: number of (head, query, key) to explain, those that bring most influence to targets.

    """
    return explain_scores(model, graph, strongest_looks(pruned, loadings, most))


def strongest_looks(pruned: PrunedGraph, loadings: HeadLoadings, most: int) -> list[Look]:
    """Return the (layer, head, query, key) that bring most influence to targets, strongest first."""
    heads = loadings.path == EdgePath.HEAD
    edge = loadings.edge[heads]
    query = pruned.position[pruned.target[edge]]
    looks, index = torch.stack(
        (loadings.layer[heads], loadings.head[heads], query, loadings.key[heads]), 1
    ).unique(dim=0, return_inverse=True)
    weight = pruned.weight[edge].double()
    share = torch.where(weight == 0, 0, loadings.loading[heads].double() / weight).abs()
    carried = torch.zeros(len(looks), dtype=torch.float64)
    carried.index_add_(0, index, share * pruned.edge_influence[edge].double())
    order = carried.argsort(descending=True, stable=True)[:most]
    return [tuple(look) for look in looks[order].tolist()]


def explain_scores(model: ReplacementModel, graph: AttributionGraph, looks: list[Look]) -> QKAttribution:
    """Split the scores of given heads at given queries and keys.

    Args:
        model: the model that the graph is of.
        graph: the graph, as `attribute` returned it.
        looks: layer, head, query's and key's position of each score; the key must be one that the query sees.

    """
    rows: list[_Row] = []
    if looks:
        components = _Components(model, graph)
        found: dict[Look, list[_Row]] = {}
        # Layer by layer: what one layer's heads share is kept no longer than that.
        for layer in sorted({look[0] for look in looks}):
            for look in (look for look in looks if look[0] == layer):
                found[look] = list(_rows(components, look))
            components.forget()
        rows = [row for look in looks for row in found[look]]
    return _columns(rows)


@dataclass(frozen=True)
class _Row:
    look: Look
    part: ScorePart
    query: Name
    key: Name
    score: float
    contrast: float
    attention: float = nan


class _Components:
    """Components of queries and keys of a prompt, float64."""

    def __init__(self, model: ReplacementModel, graph: AttributionGraph) -> None:
        tokens = graph.input_tokens.to(model.device)
        self.scores = QueriesKeys(model, tokens)
        self.token_ids = graph.input_tokens
        with torch.inference_mode():
            self._frozen = model.freeze(tokens)
            self._active = self._frozen.active_features()
            L, T = model.n_layers, self._frozen.n_positions
            self._vectors = source_vectors(self._frozen, SourceIndex(self._active, L, T))
        self._read: dict[tuple, Float[Tensor, "S h"]] = {}
        self._readings: dict[tuple[str, int, int], Float[Tensor, "h T d"]] = {}

    def forget(self) -> None:
        self._read.clear()
        self._readings.clear()

    def query(self, layer: int, head: int, at: int) -> Float[Tensor, "S h"]:
        """Return the components of a query."""
        return self._components("query", layer, head, (at,))

    def keys(self, layer: int, head: int, at: tuple[int, ...]) -> Float[Tensor, "S h"]:
        """Return the components of the sum of some keys of a key/value head."""
        return self._components("key", layer, head, at)

    def names(self, layer: int) -> list[Name]:
        """Name the sources below a layer in their order, and the constant."""
        sources = self._sources(layer)
        T = sources.n_positions
        names = [_CONSTANT] * (sources.count + 1)
        for number, name in zip(sources.features.tolist(), sources.active_features.tolist(), strict=True):
            names[number] = (int(NodeKind.FEATURE), *name)
        for index, number in enumerate(sources.errors.tolist()):
            names[number] = (int(NodeKind.ERROR), index // T, index % T, -1)
        for position, number in enumerate(sources.tokens.tolist()):
            names[number] = (int(NodeKind.TOKEN), -1, position, int(self.token_ids[position]))
        return names

    def _sources(self, layer: int) -> SourceIndex:
        return SourceIndex(self._active[self._active[:, 0] < layer], layer, self._frozen.n_positions)

    def _components(self, which: str, layer: int, head: int, at: tuple[int, ...]) -> Float[Tensor, "S h"]:
        key = (which, layer, head, at)
        if key not in self._read:
            self._read[key] = self._compute(which, layer, head, at)
        return self._read[key]

    @torch.inference_mode()
    def _compute(self, which: str, layer: int, head: int, at: tuple[int, ...]) -> Float[Tensor, "S h"]:
        scores = self.scores
        below = layer if which == "query" else scores.key_layer(layer)
        if (which, layer, head) not in self._readings:
            read = scores.query_readings if which == "query" else scores.key_readings
            self._readings[which, layer, head] = read(layer, head)
        readings = self._readings[which, layer, head]
        frozen = replace(self._frozen, layers=self._frozen.layers[:below])
        sources = self._sources(below)
        R, n_positions = len(readings), max(at) + 1
        start = readings.new_zeros(R, n_positions, readings.shape[2])
        start[:, list(at)] = readings[:, list(at)]
        home = frozen.layers[-1].error if frozen.layers else frozen.tokens
        block = RowBlock(
            torch.arange(R, device=frozen.tokens.device), [R] * (below + 1), [0] * (below + 1), n_positions
        )
        inputs = PassInputs(frozen, self._vectors, sources, targets=None)
        # The constant is what the sources do not make up.
        numbers = scores.layers[below].key if which == "key" else scores.layers[layer].query
        found = torch.zeros(sources.count + 1, R, dtype=torch.float64)
        for edges in carry_down(inputs, block, start.to(home.device)):
            found[edges.sources.cpu(), : edges.weights.shape[1]] = edges.weights.double().cpu()
        found[-1] = numbers[head, list(at)].double().sum(0).cpu() - found.sum(0)
        return found


def _rows(components: _Components, look: Look) -> Iterator[_Row]:
    """Yield one score, its largest pairs and components, and what is left of each kind."""
    layer, head, query, key = look
    scores = components.scores.layers[layer]
    of_query = components.query(layer, head, query) * scores.scaling
    of_key = components.keys(layer, scores.key_head(head), (key,))
    seen = tuple(scores.visible[query].nonzero()[:, 0].tolist())
    # What the key has more than the mean of the others; nothing if there are none.
    lead = torch.full_like(of_key, nan)
    if len(seen) > 1:
        lead = of_key - (components.keys(layer, scores.key_head(head), seen) - of_key) / (len(seen) - 1)
    whole = of_query.sum(0)
    total, total_lead = float(whole @ of_key.sum(0)), float(whole @ lead.sum(0))
    attention = float(scores.pattern[head, query, key])
    yield _Row(look, ScorePart.SCORE, _WHOLE, _WHOLE, total, total_lead, attention)

    def listed(
        part: ScorePart,
        ends: list[tuple[Name, Name]],
        rest: tuple[Name, Name],
        score: Tensor,
        contrast: Tensor,
    ) -> Iterator[_Row]:
        for index in score.abs().argsort(descending=True, stable=True).tolist():
            yield _Row(look, part, *ends[index], float(score[index]), float(contrast[index]))
        yield _Row(look, part, *rest, total - float(score.sum()), total_lead - float(contrast.sum()))

    queries, keys = components.names(layer), components.names(components.scores.key_layer(layer))
    pairs = torch.cat((_largest_pairs(of_query, of_key), _largest_pairs(of_query, lead))).unique(dim=0)
    q, k = pairs.unbind(1)
    ends = [(queries[i], keys[j]) for i, j in pairs.tolist()]
    score, contrast = (of_query[q] * of_key[k]).sum(1), (of_query[q] * lead[k]).sum(1)
    yield from listed(ScorePart.PAIR, ends, (_OTHER, _OTHER), score, contrast)

    score, contrast = of_query @ of_key.sum(0), of_query @ lead.sum(0)
    chosen = _largest(score, contrast)
    ends = [(queries[i], _WHOLE) for i in chosen.tolist()]
    yield from listed(ScorePart.QUERY, ends, (_OTHER, _WHOLE), score[chosen], contrast[chosen])

    score, contrast = of_key @ whole, lead @ whole
    chosen = _largest(score, contrast)
    ends = [(_WHOLE, keys[i]) for i in chosen.tolist()]
    yield from listed(ScorePart.KEY, ends, (_WHOLE, _OTHER), score[chosen], contrast[chosen])


def _largest(score: Float[Tensor, " S"], contrast: Float[Tensor, " S"]) -> Int[Tensor, " n"]:
    """Return the components of largest score and those of largest contrast, ascending, none of them zero."""
    found = []
    for values in (score, contrast.nan_to_num(0)):
        order = values.abs().argsort(descending=True, stable=True)[:LARGEST_COMPONENTS]
        found.append(order[values[order] != 0])
    return torch.cat(found).unique()


def _largest_pairs(query: Float[Tensor, "S h"], key: Float[Tensor, "U h"]) -> Int[Tensor, "n 2"]:
    """Return the pairs of largest absolute product, none of them zero."""
    if key.isnan().any():
        return torch.zeros(0, 2, dtype=torch.long)
    lengths, others = query.norm(dim=1), key.norm(dim=1)
    longest = lengths.argsort(descending=True, stable=True)[:SEEDS]
    longest_key = others.argsort(descending=True, stable=True)[:SEEDS]
    seeds = (query[longest] @ key[longest_key].T).abs().flatten()
    least = float(seeds.topk(min(LARGEST_PAIRS, len(seeds))).values[-1])
    # No pair is larger than the product of its lengths. Rounded down, so that none is lost to rounding.
    least *= 1 - 1e-9
    q = ((lengths * others.max() >= least) & (lengths > 0)).nonzero()[:, 0]
    k = ((others * lengths.max() >= least) & (others > 0)).nonzero()[:, 0]
    best, size = torch.zeros(0, 2, dtype=torch.long), torch.zeros(0, dtype=query.dtype)
    for part in q.split(max(1, PAIRS_AT_ONCE // max(1, len(k)))):
        products = (query[part] @ key[k].T).abs().flatten()
        top = products.topk(min(LARGEST_PAIRS, len(products))).indices
        here = torch.stack((part[top // len(k)], k[top % len(k)]), 1)
        best, size = torch.cat((best, here)), torch.cat((size, products[top]))
        order = size.argsort(descending=True, stable=True)[:LARGEST_PAIRS]
        best, size = best[order], size[order]
    return best[size > 0]


def _columns(rows: list[_Row]) -> QKAttribution:
    looks = torch.tensor([row.look for row in rows], dtype=torch.long).view(-1, 4)
    values = torch.tensor([(row.score, row.contrast, row.attention) for row in rows], dtype=torch.float64)
    return QKAttribution(
        *looks.unbind(1),
        torch.tensor([row.part for row in rows], dtype=torch.long),
        torch.tensor([row.query for row in rows], dtype=torch.long).view(-1, 4),
        torch.tensor([row.key for row in rows], dtype=torch.long).view(-1, 4),
        *values.view(-1, 3).unbind(1),
    )
