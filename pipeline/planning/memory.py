"""Device memory that tracing one prompt adds, counted tensor by tensor.

Three phases follow each other, and the largest is the peak:

- forward: the attention patterns (L H T^2), six recorded vectors a layer and position, and for one layer at a
  time either the features' pre-activations (T F), or the float32 scores of the attention (H T^2);
- rows: the patterns still, every source's vector (n d for a PLT), the edges so far, and one block of rows;
- pruning: the edges only, and lists of those that are kept.

A block of P (row, position) pairs holds, for each pair, a gradient (d), the mixed values of all heads (H h),
the values (K h), and with a skip path two gradients more; products in low precision copy their factors.
Edges of a block stay in the graph, so they count once, with the edges; but where faint edges are left out
the whole block exists before they are.

Three constants are fitted, each stated below with what was measured. Sizes are in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.attribution import FEWEST_ROWS, POSITION_GROUPS, SMALLEST_GROUP, AttributionOptions
from pipeline.planning.sizes import ModelSizes, PromptSizes

WASTE = 1.05
"""Edges held over edges that can be, where every feature has a row: a block goes to its last row's position.
Measured 1.01 to 1.06 at 12 to 24 tokens in 4 and 12 layers."""

KEPT_EDGE_BYTES = 700
"""Bytes of pruning for each edge that it keeps: two ends as 64-bit numbers, weight, score and their sorted
copies, of the loosest pruning behind `stability`, which holds about five times as many edges. Measured 630 to
670; the sweep's own pruning alone takes 109 to 126."""

KEPT_SHARE = 0.005
"""Kept edges as a share of all where that is not known: 1,000 to 100,000 of some 20 million."""

RECORDED_VECTORS = 6
"""Vectors kept for each layer and position: inputs and outputs of norms and MLP, reconstruction and error."""

UNION = 4.0
"""Edges kept a row over `edges_per_row`: a block keeps what any of its rows wants. Measured 3.7 at 128 tokens
with 2,048 a row."""


@dataclass(frozen=True)
class PromptBytes:
    """Bytes that one prompt adds to what the loaded model takes."""

    forward: float
    """While the model runs and its dictionary encodes."""

    held: float
    """While rows are computed: patterns, errors, what transcoders read, and source vectors."""

    block: float
    """One block of rows, which the next one uses again."""

    edges: float
    """All edges, when the last block is done."""

    pruning: float
    """Lists of the edges that pruning keeps."""

    @property
    def peak(self) -> float:
        """Peak of bytes in use."""
        return max(self.forward, self.held + self.block + self.edges, self.edges + self.pruning)


def prompt_bytes(
    model: ModelSizes, prompt: PromptSizes, options: AttributionOptions, block_pairs: int
) -> PromptBytes:
    """Count the bytes of a prompt with blocks of `block_pairs` (row, position) pairs."""
    T, L, d, e = prompt.positions, model.layers, model.width, model.element_bytes
    patterns = e * L * model.heads * T * T
    encoding = 3 * e * T * model.features
    attending = 3 * 4 * model.heads * T * T
    vectors = e * d * model.written * (prompt.active + L * T)
    edges = _edges(model, prompt, options)
    kept = KEPT_SHARE * edges if prompt.kept_edges is None else prompt.kept_edges
    return PromptBytes(
        forward=patterns + e * RECORDED_VECTORS * L * T * d + max(encoding, attending),
        held=patterns + e * (2 * L + 1) * T * d + vectors,
        block=_block(model, prompt, options, block_pairs),
        edges=e * edges,
        pruning=KEPT_EDGE_BYTES * kept,
    )


def _block(model: ModelSizes, prompt: PromptSizes, options: AttributionOptions, block_pairs: int) -> float:
    T, e = prompt.positions, model.element_bytes
    rows = min(_largest_group(prompt), max(1, block_pairs // T, min(FEWEST_ROWS, block_pairs)))
    numbers = model.width * (3 if model.has_skip else 1) + model.query_width + model.value_width
    copies = 2 * (model.width + model.query_width) if options.precision == "bfloat16" else 0
    # Influence takes the absolute values of one layer's edges at a time.
    edges = rows * model.sources(T, prompt.active) / model.layers
    if options.edges_per_row is not None:
        edges += rows * model.sources(T, prompt.active) / 2  # half of the layers lie below a row
    return rows * T * (e * numbers + copies) + e * edges


def _largest_group(prompt: PromptSizes) -> float:
    """Return how many rows may go down together because they lie at neighbouring positions."""
    if prompt.rows < prompt.active:
        return prompt.rows  # chosen ones may all lie at the end
    groups = min(POSITION_GROUPS, prompt.positions)
    return min(prompt.rows, max(SMALLEST_GROUP, 1.2 * prompt.rows / groups))


def _edges(model: ModelSizes, prompt: PromptSizes, options: AttributionOptions) -> float:
    sources = model.sources(prompt.positions, prompt.active)
    if prompt.density is not None:
        return prompt.density * prompt.rows * sources
    if options.edges_per_row is not None:
        others = sources - prompt.active
        return prompt.rows * min(sources / 2, UNION * options.edges_per_row + others / 2)
    # A row sees half of the layers and half of the positions; a chosen one, if it lies late, all of these.
    below = (model.layers - 1) / (2 * model.layers)
    before = 1.0 if prompt.rows < prompt.active else (prompt.positions + 1) / (2 * prompt.positions)
    return WASTE * below * before * prompt.rows * sources
