"""What tracing one prompt adds to the memory of the device, counted tensor by tensor.

Three phases follow each other, and the largest is the peak:

- forward: the attention patterns (L H T^2), six recorded vectors a layer and position, and for one layer at a
  time either the features' pre-activations (T F), or the float32 scores of the attention (H T^2);
- rows: the patterns still, every source's vector (n d for a PLT), the edges so far, and one block of rows;
- pruning: only the edges, and a little for each.

A block of P (row, position) pairs holds, for each pair, a gradient (d), the mixed values of all heads (H h),
the values (K h), and with a skip path two gradients more; products in low precision copy their factors.
Edges of a block stay in the graph, so they count once, with the edges; but where faint edges are left out
the whole block exists before they are.

Two constants are fitted, on the medium model of `circuit-sweep bench`; both are stated below. Sizes are in
bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.attribution.row_blocks import FEWEST_ROWS
from pipeline.planning.sizes import ModelSizes, PromptSizes, Rules

ALL_ROWS_DENSITY = 0.26
"""Edges over rows times sources where every feature has a row: a row sees half of the layers and half of the
positions; a block goes to its last row's position. Measured 0.251 at 12 and 24 tokens."""

PRUNING_SHARE = 0.1
"""What pruning adds to the edges, as a share of them."""

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
    """While rows are computed: patterns, errors and source vectors."""

    block: float
    """One block of rows, which the next one uses again."""

    edges: float
    """All edges, when the last block is done."""

    @property
    def peak(self) -> float:
        """The most that is in use at a time."""
        return max(self.forward, self.held + self.block + self.edges, self.edges * (1 + PRUNING_SHARE))


def prompt_bytes(model: ModelSizes, prompt: PromptSizes, rules: Rules, block_pairs: int) -> PromptBytes:
    """Count what a prompt takes with blocks of so many (row, position) pairs."""
    T, L, d, e = prompt.positions, model.layers, model.width, model.element_bytes
    patterns = e * L * model.heads * T * T
    encoding = 3 * e * T * model.features
    attending = 3 * 4 * model.heads * T * T
    vectors = e * d * model.written * (prompt.active + L * T)
    return PromptBytes(
        forward=patterns + e * RECORDED_VECTORS * L * T * d + max(encoding, attending),
        held=patterns + e * (L + 1) * T * d + vectors,
        block=_block(model, prompt, rules, block_pairs),
        edges=e * _edges(model, prompt, rules),
    )


def _block(model: ModelSizes, prompt: PromptSizes, rules: Rules, block_pairs: int) -> float:
    T, e = prompt.positions, model.element_bytes
    rows = min(prompt.rows, max(1, block_pairs // T, min(FEWEST_ROWS, block_pairs)))
    numbers = model.width * (3 if model.has_skip else 1) + model.query_width + model.value_width
    copies = 2 * (model.width + model.query_width) if rules.low_precision else 0
    whole = 0.0
    if rules.edges_per_row is not None:
        # Half of the layers lie below a row; the absolute values of one layer's edges beside them.
        whole = rows * model.sources(T, prompt.active) * e * (0.5 + 1 / model.layers)
    return rows * T * (e * numbers + copies) + whole


def _edges(model: ModelSizes, prompt: PromptSizes, rules: Rules) -> float:
    sources = model.sources(prompt.positions, prompt.active)
    if prompt.density is not None:
        return prompt.density * prompt.rows * sources
    if rules.edges_per_row is not None:
        others = sources - prompt.active
        return prompt.rows * min(sources / 2, UNION * rules.edges_per_row + others / 2)
    # Chosen features see more than the average one where they lie late in the prompt: to be safe, twice.
    chosen = prompt.rows < prompt.active
    return ALL_ROWS_DENSITY * (2 if chosen else 1) * prompt.rows * sources
