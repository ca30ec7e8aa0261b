"""Graphs of random numbers with the shape of real ones, for tests that store them."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from pipeline.graph.attribution_graph import NodeKind, Prediction, PrunedGraph, Target
from pipeline.graph.loadings import EdgePath, HeadLoadings
from pipeline.graph.qk import Component, QKAttribution, ScorePart
from pipeline.graph.stability import Stability
from pipeline.seconds import Seconds
from pipeline.store.commits.keys import prompt_key
from pipeline.store.rows.records import TracedPrompt
from tests.support.random_graph import random_reconstruction

LAYERS = 4
FEATURES = 1024
VOCABULARY = 500


def random_prompt(
    seed: int,
    *,
    positions: int = 8,
    features: int = 60,
    edges: int = 300,
    targets: tuple[Target, ...] = (Target(" a", 7, 0.75), Target(" b", 9, 0.125)),
    **given,
) -> TracedPrompt:
    """A traced prompt whose graph was drawn from `seed`; `given` replaces fields."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(VOCABULARY, (positions,), generator=draw)
    graph = _graph(tokens, features, targets, draw)
    pruned = _pruned(graph, edges, draw)
    fields = {
        "prompt_key": prompt_key(tokens.tolist()),
        "id": f"prompt-{seed}",
        "run_key": -7,
        "graph": graph,
        "pruned": pruned,
        "stability": Stability(torch.ones(len(pruned.node)), torch.ones(len(pruned.weight))),
        "replacement_score": 0.75,
        "completeness_score": 0.875,
        "unexpanded_influence": 0.0,
        "dropped_share": 0.0,
        "constants_share": 0.25,
        "pruning_seconds": 0.25,
        "head_loadings": _loadings(pruned.weight[:3]),
        "qk": _scores(positions),
    }
    return TracedPrompt(**(fields | given))


def _scores(positions: int) -> QKAttribution:
    """A head's score of 1.5, nearly all of it two tokens'."""
    token, other, whole = (
        (Component.TOKEN, -1, 1, 7),
        (Component.OTHER, *[-1] * 3),
        (Component.WHOLE, *[-1] * 3),
    )
    rows = [
        (ScorePart.SCORE, whole, whole, 1.5),
        (ScorePart.PAIR, token, token, 1.0),
        (ScorePart.PAIR, other, other, 0.5),
        (ScorePart.QUERY, token, whole, 1.25),
        (ScorePart.QUERY, other, whole, 0.25),
        (ScorePart.KEY, whole, token, 1.75),
        (ScorePart.KEY, whole, other, -0.25),
    ]
    part, query, key, score = (torch.tensor(column) for column in zip(*rows, strict=True))
    of_all = [torch.full_like(part, value) for value in (1, 2, positions - 1, 1)]
    attention = torch.where(part == ScorePart.SCORE, 0.75, torch.nan)
    return QKAttribution(*of_all, part, query, key, score.double(), score.double() / 2, attention)


def _loadings(weights: torch.Tensor) -> HeadLoadings:
    """Each edge through no head by a half more than its weight, less this through a head."""
    n = len(weights)
    ones = torch.ones(n, dtype=torch.long)
    return HeadLoadings(
        edge=torch.arange(n).repeat_interleave(2),
        path=torch.stack((ones * EdgePath.RESIDUAL, ones * EdgePath.HEAD), 1).flatten(),
        layer=torch.stack((-ones, ones), 1).flatten(),
        head=torch.stack((-ones, 2 * ones), 1).flatten(),
        key=torch.stack((-ones, 0 * ones), 1).flatten(),
        loading=torch.stack((1.5 * weights, -0.5 * weights), 1).flatten(),
    )


def _graph(
    tokens: torch.Tensor, features: int, targets: tuple[Target, ...], draw: torch.Generator
) -> SimpleNamespace:
    """The fields of an AttributionGraph that become rows, without the edges behind them."""
    drawn = [torch.randint(size, (features,), generator=draw) for size in (LAYERS, len(tokens), FEATURES)]
    active = torch.stack(drawn, 1).unique(dim=0)
    return SimpleNamespace(
        prompt="some text",
        input_tokens=tokens,
        token_strings=tuple(f"t{token}" for token in tokens),
        n_layers=LAYERS,
        active_features=active,
        activations=torch.rand(len(active), generator=draw),
        expanded=torch.arange(len(active)),
        targets=targets,
        prediction=Prediction(" a", 7, 0.75, 0.5),
        reconstruction=random_reconstruction(LAYERS, len(tokens), draw),
        seconds=Seconds(model=0.5, rows=1.5),
        n_positions=len(tokens),
        n_nodes=len(active) + (LAYERS + 1) * len(tokens) + len(targets),
    )


def _pruned(graph: SimpleNamespace, edges: int, draw: torch.Generator) -> PrunedGraph:
    positions = torch.arange(graph.n_positions)
    zeros = torch.zeros_like(positions)
    last = graph.n_positions - 1
    parts = {
        NodeKind.FEATURE: graph.active_features[::2],
        NodeKind.ERROR: torch.stack([zeros + 1, positions, zeros - 1], 1),
        NodeKind.TOKEN: torch.stack([zeros - 1, positions, graph.input_tokens], 1),
        NodeKind.LOGIT: torch.tensor(
            [
                [LAYERS, last, target.token_id]
                if target.layer is None
                else [target.layer, target.position, target.token_id]
                for target in graph.targets
            ]
        ),
    }
    layer, position, feature = torch.cat(list(parts.values())).unbind(1)
    kind = torch.cat([torch.full((len(part),), int(kind), dtype=torch.uint8) for kind, part in parts.items()])
    sources = len(kind) - len(graph.targets)  # what is explained drives nothing
    pairs = torch.randperm(len(kind) * sources, generator=draw)[:edges].sort().values
    return PrunedGraph(
        node=torch.arange(len(kind)),
        kind=kind,
        layer=layer,
        position=position,
        feature=feature,
        activation=torch.rand(len(kind), generator=draw),
        total_input=torch.rand(len(kind), generator=draw),
        influence=torch.rand(len(kind), generator=draw),
        cumulative_influence=torch.rand(len(kind), generator=draw),
        target=pairs // sources,
        source=pairs % sources,
        weight=torch.randn(len(pairs), generator=draw),
        edge_influence=torch.rand(len(pairs), generator=draw),
        replacement_score=0.5,
        completeness_score=0.625,
    )
