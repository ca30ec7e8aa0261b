"""Paths that carry an edge: the residual stream alone, or an attention head at the target's position.

An edge sums over all paths from source to target, which may pass through several heads. Each path belongs
to the last head on it, the one that brings it to the target's position: layer, head, and the key position
that the head looks at there. Paths without a head are the residual stream's (and the affine paths of
transcoders). So the loadings of an edge are exact and sum to its weight.

One pass upwards a source: with patterns and norms frozen, what it writes is carried up the residual stream,
and at every layer the values that it leaves there are weighed with the target's reading vector behind the
attention. A source costs about as much as a row of the graph, whatever its number of targets.

Legend: E edges, S sources, R targets, T positions, d model width, H heads, K key/value heads, h head width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.attribution.options import AttributionOptions
from pipeline.attribution.targets import ResolvedTargets, TargetSpec, resolve_targets
from pipeline.graph import AttributionGraph, EdgePath, HeadLoadings, NodeKind, PrunedGraph
from pipeline.model import FrozenModel, ReplacementModel

PAIRS_AT_ONCE = 4096
"""(source or edge, position) pairs that are carried up together."""


@torch.inference_mode()
def head_loadings(
    model: ReplacementModel,
    graph: AttributionGraph,
    pruned: PrunedGraph,
    most_edges: int = 100,
    least_share: float = 0.05,
    targets: TargetSpec = None,
    options: AttributionOptions = AttributionOptions(),  # noqa: B008 - frozen
) -> HeadLoadings:
    """Split the strongest edges of a graph by the head that brings them to their target.

    Args:
        model: the model that the graph is of.
        graph: the graph, as `attribute` returned it.
        pruned: what pruning kept of it.
        most_edges: number of edges to split, those over which most influence flows.
        least_share: loading, as a share of the edge's weight, below which heads are summed up.
        targets: targets of the graph, as they were given to `attribute`.
        options: likewise.

    """
    strongest = pruned.edge_influence.argsort(descending=True, stable=True)
    chosen = strongest[:most_edges].sort().values
    if not len(chosen):
        none = chosen.new_empty(0)
        return HeadLoadings(none, none, none, none, none, pruned.weight[:0])
    frozen = model.freeze(graph.input_tokens.to(model.device))
    resolved = resolve_targets(model, frozen, targets, options.max_targets, options.target_probability)
    reading, target_of_edge = _Reading.of(frozen, pruned, resolved, chosen)
    sources, source_of_edge = pruned.source[chosen].unique(return_inverse=True)
    parts = []
    per_block = max(1, PAIRS_AT_ONCE // frozen.n_positions)
    for first in range(0, len(sources), per_block):
        block = sources[first : first + per_block]
        mine = (source_of_edge // per_block == first // per_block).nonzero()[:, 0]
        for edges in mine.split(per_block):
            split = _Split(chosen[edges], pruned.weight[chosen[edges]].abs() * least_share)
            written = _Written.of(frozen, pruned, block)
            ends = source_of_edge[edges] - first, target_of_edge[edges]
            _carry_up(frozen, written, reading, *ends, split)
            parts.append(split.rows())
    columns, loading = (torch.cat(found) for found in zip(*parts, strict=True))
    # By edge, and within one in the order in which its paths were found.
    order = columns[:, 0].argsort(stable=True)
    return HeadLoadings(*columns[order].unbind(1), loading[order])


@dataclass(frozen=True)
class _Reading:
    """What targets read at their own positions, no head between."""

    positions: Int[Tensor, " R"]
    at_attention: list[Float[Tensor, "R Hh"]]
    """By layer, pulled back to the mixed values of its heads; 0 for targets that read below."""

    at_write: list[Float[Tensor, "R d"]]
    """By layer, where the MLP writes."""

    at_tokens: Float[Tensor, "R d"]

    @classmethod
    def of(
        cls, frozen: FrozenModel, pruned: PrunedGraph, targets: ResolvedTargets, edges: Int[Tensor, " E"]
    ) -> tuple[_Reading, Int[Tensor, " E"]]:
        """Carry the targets of some edges down the residual stream; return each edge's target too."""
        nodes, target_of_edge = pruned.target[edges].unique(return_inverse=True)
        home = frozen.tokens
        is_target = pruned.kind[nodes] == NodeKind.LOGIT
        # Pruning keeps every target, in their order.
        number = (pruned.kind == NodeKind.LOGIT).long().cumsum(0)[nodes] - 1
        layers, positions = pruned.layer[nodes].clone(), pruned.position[nodes].clone()
        layers[is_target], positions[is_target] = targets.reads[number[is_target]].cpu().unbind(1)
        positions = positions.to(home.device)
        at_attention, at_write = [], []
        vectors = home.new_zeros(len(nodes), home.shape[1])
        vectors[is_target] = targets.gradients[number[is_target].to(home.device)]
        above = vectors * (layers == len(frozen.layers))[:, None].to(home.device)
        carried = above
        for index in range(len(frozen.layers) - 1, -1, -1):
            layer = frozen.layers[index]
            device = layer.error.device
            joins = (layers == index).nonzero()[:, 0]
            read = vectors[joins].to(device)
            features = (~is_target[joins]).nonzero()[:, 0]
            if len(features):
                encoder = frozen.transcoders.layers[index].encoder[
                    pruned.feature[nodes[joins[features]]].to(device)
                ]
                at = positions[joins[features]].to(device)
                read[features] = frozen.read_back(index, at, encoder)
            carried = carried.to(device) * layer.maps.scalar
            at_write.append(carried)
            before = carried
            skip = frozen.transcoders.layers[index].skip
            if skip is not None:
                carried = carried + frozen.read_back(index, positions.to(device), carried @ skip.T)
            joined = carried.index_add(0, joins.to(device), read)
            reads = before if frozen.parallel else joined
            at_attention.append(reads @ layer.maps.attention.output)
            carried = joined
        reading = cls(positions, at_attention[::-1], at_write[::-1], carried.to(home.device))
        return reading, target_of_edge


@dataclass(frozen=True)
class _Written:
    """What sources write into the residual stream."""

    count: int
    positions: Int[Tensor, " S"]
    by_layer: dict[int, tuple[Int[Tensor, " m"], Float[Tensor, "m d"]]]
    """By layer, -1 for the tokens: which sources write there, and their vectors."""

    @classmethod
    def of(cls, frozen: FrozenModel, pruned: PrunedGraph, nodes: Int[Tensor, " S"]) -> _Written:
        kind, layer, position = pruned.kind[nodes], pruned.layer[nodes], pruned.position[nodes]
        parts: dict[int, list[tuple[Tensor, Tensor]]] = defaultdict(list)

        def add(at: int, which: Int[Tensor, " m"], vectors: Float[Tensor, "m d"]) -> None:
            device = (frozen.tokens if at < 0 else frozen.layers[at].error).device
            parts[at].append((which.to(device), vectors.to(device)))

        tokens = (kind == NodeKind.TOKEN).nonzero()[:, 0]
        add(-1, tokens, frozen.tokens[position[tokens].to(frozen.tokens.device)])
        for index, here in enumerate(frozen.layers):
            device = here.error.device
            if here.token_write is not None:
                add(index, tokens, here.token_write[position[tokens].to(device)])
            errors = ((kind == NodeKind.ERROR) & (layer == index)).nonzero()[:, 0]
            add(index, errors, here.error[position[errors].to(device)])
            features = ((kind == NodeKind.FEATURE) & (layer == index)).nonzero()[:, 0]
            dictionary, amounts = frozen.transcoders.layers[index], pruned.activation[nodes[features]]
            for write in range(dictionary.decoder.shape[1] if len(features) else 0):
                rows = dictionary.decoder_rows(pruned.feature[nodes[features]].to(device), write)
                add(index + write, features, rows * amounts[:, None].to(rows))
        by_layer = {at: tuple(map(torch.cat, zip(*found, strict=True))) for at, found in parts.items()}
        return cls(len(nodes), position, by_layer)


class _Split:
    """Collector of the paths of some edges."""

    def __init__(self, edges: Int[Tensor, " E"], least: Float[Tensor, " E"]) -> None:
        self._edges, self._least = edges, least
        self._residual = torch.zeros_like(least)
        self._others = torch.zeros_like(least)
        self._heads: list[tuple[Tensor, Tensor]] = []

    def add_residual(self, loading: Float[Tensor, " E"]) -> None:
        self._residual += loading.to(self._residual)

    def add_heads(self, layer: int, loading: Float[Tensor, "E H T"]) -> None:
        """Keep the large ones of a layer, and sum up the rest."""
        large = loading.abs() >= self._least.to(loading)[:, None, None].clamp(
            min=torch.finfo(loading.dtype).tiny
        )
        edge, head, key = (found.cpu() for found in large.nonzero(as_tuple=True))
        columns = (
            self._edges[edge],
            torch.full_like(edge, EdgePath.HEAD),
            torch.full_like(edge, layer),
            head,
            key,
        )
        self._heads.append((torch.stack(columns, 1), loading[large].to(self._residual)))
        self._others += (loading * ~large).sum((1, 2)).to(self._others)

    def rows(self) -> tuple[Int[Tensor, "n 5"], Float[Tensor, " n"]]:
        """Return (edge, path, layer, head, key) and the loading of each path."""
        none = torch.full_like(self._edges, -1)
        plain = [
            (torch.stack((self._edges, torch.full_like(none, path), none, none, none), 1), loading)
            for path, loading in ((EdgePath.RESIDUAL, self._residual), (EdgePath.OTHER, self._others))
        ]
        parts = [plain[0], *self._heads, plain[1]]
        return torch.cat([part for part, _ in parts]), torch.cat([loading for _, loading in parts])


def _carry_up(
    frozen: FrozenModel,
    written: _Written,
    reading: _Reading,
    source_of_edge: Int[Tensor, " E"],
    target_of_edge: Int[Tensor, " E"],
    split: _Split,
) -> None:
    """Carry what sources write up to the top, and weigh it on the way."""
    home = frozen.tokens
    stream = home.new_zeros(written.count, frozen.n_positions, home.shape[1])
    values: dict[int, Float[Tensor, "S T K h"]] = {}
    same = (written.positions[source_of_edge] == reading.positions.cpu()[target_of_edge]).to(home.device)

    def write(at: int, reads: Float[Tensor, "R d"]) -> None:
        nonlocal stream
        which, vectors = written.by_layer.get(at, (None, None))
        if which is None or not len(which):
            return
        stream.index_put_((which, written.positions[which.cpu()].to(which.device)), vectors, accumulate=True)
        whole = stream.new_zeros(written.count, stream.shape[-1]).index_add(0, which, vectors)
        there = whole[source_of_edge.to(whole.device)] * reads[target_of_edge.to(whole.device)]
        split.add_residual(there.sum(-1) * same.to(whole.device))

    write(-1, reading.at_tokens)
    for index, layer in enumerate(frozen.layers):
        stream = stream.to(layer.error.device)
        before = stream.clone() if frozen.parallel else stream
        for loading in _attend(frozen, index, stream, values, reading, source_of_edge, target_of_edge):
            split.add_heads(index, loading)
        skip = frozen.transcoders.layers[index].skip
        if skip is not None:
            stream += frozen.push(index, before) @ skip
        write(index, reading.at_write[index])
        stream *= layer.maps.scalar


def _attend(
    frozen: FrozenModel,
    index: int,
    stream: Float[Tensor, "S T d"],
    values: dict[int, Float[Tensor, "S T K h"]],
    reading: _Reading,
    source_of_edge: Int[Tensor, " E"],
    target_of_edge: Int[Tensor, " E"],
) -> Iterator[Float[Tensor, "E H T"]]:
    """Add what a layer's attention moves to the stream, in place; yield what its heads bring to targets."""
    layer, device = frozen.layers[index], stream.device
    value, output = layer.maps.attention.value, layer.maps.attention.output
    H = layer.pattern.shape[0]
    h = output.shape[1] // H
    if layer.maps.value_layer == index:
        values[index] = (stream @ value.T).unflatten(-1, (-1, h))
    moved = values[layer.maps.value_layer].to(device)
    K = moved.shape[2]
    sources, targets = source_of_edge.to(device), target_of_edge.to(device)
    reads = reading.at_attention[index][targets].view(len(targets), K, H // K, h)
    pattern = layer.pattern[:, reading.positions.to(device)[targets]].transpose(0, 1)
    yield torch.einsum("ekgc,etkc->ekgt", reads, moved[sources]).flatten(1, 2) * pattern
    by_group = layer.pattern.unflatten(0, (K, H // K))
    mixed = torch.einsum("kgqt,stkc->sqkgc", by_group, moved).flatten(2)
    stream += mixed @ output.T
