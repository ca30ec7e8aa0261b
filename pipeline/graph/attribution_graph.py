"""The attribution graph of one prompt, before and after pruning.

Node order, the same everywhere (and circuit-tracer's): expanded features sorted by (layer, position,
feature), errors layer-major (`layer * T + position`), tokens, targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from pipeline.graph.edge_blocks import EdgeBlocks
from pipeline.graph.influence import influence, scores
from pipeline.graph.node_index import NodeIndex
from pipeline.seconds import NO_SECONDS, Seconds


class NodeKind(IntEnum):
    """Kinds of node."""

    FEATURE = 0
    ERROR = 1
    TOKEN = 2
    LOGIT = 3

    @property
    def label(self) -> str:
        """The kind's name in tables and exports."""
        return self.name.lower()


TargetKind = Literal["token", "difference", "direction", "feature"]
"""A token's logit, one token's logit minus another's, any other direction, a feature's pre-activation."""


@dataclass(frozen=True)
class Target:
    """One thing whose value the graph explains."""

    label: str
    """The token's text, or the name that the user gave to a direction."""

    token_id: int
    """Vocabulary id; for anything else, vocabulary size + index among the targets, as in circuit-tracer."""

    probability: float
    """The model's probability of the token at the last position; for anything else, its weight."""

    kind: TargetKind = "token"

    rank: int | None = None
    """The token's rank by probability, 1 for the most likely; None for what is no token."""

    difference: tuple[int, int] | None = None
    """Tokens A and B of a target that is A's logit minus B's."""

    layer: int | None = None
    """Layer of the feature whose pre-activation is explained; None for what is read at the output."""

    position: int | None = None
    """That feature's position; None for what is read at the output, at the last position."""

    feature: int | None = None
    """That feature's index."""

    @property
    def tokens(self) -> dict[int, float]:
        """The tokens whose logits are explained, each with its factor; empty for directions and features."""
        if self.difference is not None:
            return dict(zip(self.difference, (1.0, -1.0), strict=True))
        return {self.token_id: 1.0} if self.kind == "token" else {}


@dataclass(frozen=True)
class Prediction:
    """The model's own output at the position that is explained, whatever was asked for."""

    token: str
    """Text of the most likely token."""

    token_id: int

    probability: float

    entropy: float
    """Entropy of the whole distribution, in nats."""


@dataclass(frozen=True)
class Reconstruction:
    """How well each MLP's output is reconstructed, by layer and position."""

    output_norms: Float[Tensor, "L T"]
    """Euclidean norm of the MLP's output."""

    error_norms: Float[Tensor, "L T"]
    """Euclidean norm of the error, the part of the output that its features do not explain."""

    cosines: Float[Tensor, "L T"]
    """Cosine between output and reconstruction; 0 where one of them is 0."""

    zero_positions: int
    """First positions that carry no features and no errors: nothing is reconstructed there."""


@dataclass(frozen=True)
class AttributionGraph:
    """Direct effects between the nodes of one prompt's local replacement model.

    Dimensions: T positions, L layers, n active features, m expanded ones (those with a row), K targets.
    """

    prompt: str
    """The text that was traced, decoded from its tokens where only ids were given."""

    input_tokens: Int[Tensor, " T"]
    """Token ids, with the special token that opens the prompt."""

    token_strings: tuple[str, ...]
    """Each token's text."""

    n_layers: int
    """Layers of the model."""

    active_features: Int[Tensor, "n 3"]
    """(layer, position, feature) of every active feature, sorted."""

    activations: Float[Tensor, " n"]
    """Activation of each active feature."""

    expanded: Int[Tensor, " m"]
    """Indices into `active_features` of the features whose incoming edges are known, ascending."""

    targets: tuple[Target, ...]
    """The K targets, most probable first unless the user named them."""

    edges: EdgeBlocks
    """Edges into every expanded feature and every target, from every active feature, error and token."""

    prediction: Prediction
    """The model's most likely token and how sure it is."""

    target_values: Float[Tensor, " K"]
    """Value of each target on the prompt: a centred logit, a difference of logits, a pre-activation. Edges
    and constants sum to it."""

    reconstruction: Reconstruction
    """How well features stand for each MLP's output."""

    seconds: Seconds = NO_SECONDS
    """Wall seconds of the phases `model` and `rows`."""

    def __repr__(self) -> str:
        targets = ", ".join(f"{target.label!r} {target.probability:.3f}" for target in self.targets[:3])
        more = ", ..." if len(self.targets) > 3 else ""
        return (
            f"AttributionGraph({self.prompt!r:.80}, targets [{targets}{more}], {self.n_positions} positions, "
            f"{len(self.active_features):,} active features, {len(self.expanded):,} expanded)"
        )

    @property
    def n_positions(self) -> int:
        """Positions of the prompt, T."""
        return len(self.input_tokens)

    @property
    def n_nodes(self) -> int:
        """Nodes of the graph: expanded features, errors, tokens, targets."""
        return len(self.expanded) + (self.n_layers + 1) * self.n_positions + len(self.targets)

    @property
    def target_probabilities(self) -> Float[Tensor, " K"]:
        """Weight of each target."""
        return torch.tensor([t.probability for t in self.targets], dtype=torch.float32)

    def node_index(self) -> NodeIndex:
        """Number the nodes."""
        return NodeIndex.of(self.edges, self.expanded)

    def dense(self) -> Float[Tensor, "N N"]:
        """Return the adjacency matrix, rows = targets, in node order: float32, or float64 of such a model."""
        nodes = self.node_index()
        matrix = torch.zeros(nodes.count, nodes.count, device=self.edges.device, dtype=self.edges.dtype)
        for block in self.edges.blocks:
            source = nodes.of_source[block.sources]
            known = source >= 0
            matrix[nodes.of_row[block.rows][:, None], source[known]] = block.weights[known].T.to(matrix.dtype)
        return matrix.cpu()

    def scores(self) -> tuple[float, float]:
        """Return (replacement, completeness) of the whole graph, each 0 to 1."""
        weights = self.target_probabilities.to(self.edges.device)
        return scores(self.edges, weights, self.node_index().is_node)

    def constants_share(self) -> float:
        """Return the share of the targets' input that constants carry, 0 to 1.

        Constants are all that is no node: biases, learned positional embeddings, and what MLPs write at the
        positions without features. What they carry of a target is its value less the sum of its edges; the
        share is its size over that of all of the target's input, mean over the targets by their weight.
        """
        K = len(self.targets)
        everything = torch.ones(self.edges.sources.count, dtype=torch.bool, device=self.edges.device)
        inputs = self.edges.row_sums(everything)[-K:].double()
        values = self.target_values.to(inputs)
        constants = (values - self.edges.signed_row_sums()[-K:]).abs()
        share = constants / (constants + inputs).clamp(min=1e-30)
        weights = self.target_probabilities.to(inputs)
        return ((share * weights).sum() / weights.sum().clamp(min=1e-30)).item()

    def unexpanded_influence(self) -> float:
        """Return the share of all influence that ends in features without a row, 0 to 1.

        What flows on from those is unknown; 0 means that the graph is complete.
        """
        if len(self.expanded) == len(self.active_features):
            return 0.0
        weights = self.target_probabilities.to(self.edges.device)
        everything = torch.ones(self.edges.sources.count, dtype=torch.bool, device=self.edges.device)
        flow = influence(self.edges, weights, everything).sources.double()
        unexpanded = flow[~self.node_index().is_node]
        return (unexpanded.sum() / flow.sum().clamp(min=1e-30)).item()


@dataclass(frozen=True)
class PrunedGraph:
    """The part of a graph that carries most of the influence on the targets.

    Node fields have one entry a kept node, in the graph's node order; edge fields one a kept edge, sorted by
    target, then source: one order for a graph, however its rows were computed.
    """

    node: Int[Tensor, " nodes"]
    """Index of each kept node among all nodes of the graph, as in the rows of `AttributionGraph.dense`."""

    kind: UInt8[Tensor, " nodes"]
    """`NodeKind` of each node."""

    layer: Int[Tensor, " nodes"]
    """Layer of features and errors; -1 for tokens, L for targets but features, which have their own."""

    position: Int[Tensor, " nodes"]
    """Position in the prompt; the last for targets but features, which have their own."""

    feature: Int[Tensor, " nodes"]
    """Feature index; -1 for errors; the token id for tokens and targets."""

    activation: Float[Tensor, " nodes"]
    """Activation of features, probability of targets, 0 for errors and tokens."""

    total_input: Float[Tensor, " nodes"]
    """Sum of the absolute edges into features and targets, of the whole graph; 0 for errors and tokens."""

    influence: Float[Tensor, " nodes"]
    """Influence on the targets in the unpruned graph; 0 for targets."""

    cumulative_influence: Float[Tensor, " nodes"]
    """Share of the unpruned graph's influence carried by this node and all more influential ones."""

    target: Int[Tensor, " edges"]
    """Index of the edge's target among the kept nodes."""

    source: Int[Tensor, " edges"]
    """Index of the edge's source among the kept nodes."""

    weight: Float[Tensor, " edges"]
    """Signed direct effect of the source on the target."""

    edge_influence: Float[Tensor, " edges"]
    """Normalised influence that flows over the edge."""

    replacement_score: float
    """Replacement score of the pruned graph, 0 to 1."""

    completeness_score: float
    """Completeness score of the pruned graph, 0 to 1."""

    def __repr__(self) -> str:
        return (
            f"PrunedGraph({len(self.node):,} nodes, {len(self.weight):,} edges, "
            f"replacement {self.replacement_score:.3f}, completeness {self.completeness_score:.3f})"
        )
