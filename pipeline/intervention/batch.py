"""Many interventions in few forward passes.

A pass leaves out the layers below and the positions before all of its rows' changes, so rows are put
together that begin alike (see `passes`) and only as many as fit the memory. The clean run is shared
by all of them, and only the last position is unembedded.

Legend: B rows, n cells read, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.errors import InterventionError
from pipeline.intervention.base_run import BaseRun, last_logits
from pipeline.intervention.intervention_batch import InterventionBatch
from pipeline.intervention.intervention_pass import InterventionPass
from pipeline.intervention.memory import plan_rows
from pipeline.intervention.mode import DEFAULT, Mode
from pipeline.intervention.passes import cut_passes
from pipeline.intervention.reading import activation_grid


@dataclass(frozen=True)
class BatchOutcome:
    """Outcome of a batch of rows."""

    rows: Int[Tensor, " B"]
    """The rows' numbers among the changes."""

    logits: Float[Tensor, "B V"]
    """Logits at each row's last position."""

    activations: Float[Tensor, "B n"]
    """Activations of the cells that were read."""


def intervene_many(
    base: BaseRun,
    changes: InterventionBatch,
    mode: Mode = DEFAULT,
    read: Int[Tensor, "n 3"] | None = None,
    *,
    preactivations: bool = False,
    rows_per_pass: int | None = None,
) -> BatchOutcome:
    """Run every row of a batch of interventions.

    Args:
        base: the clean run of the prompts.
        changes: the features that each row sets, and their values.
        mode: values that are frozen; see `pipeline.intervention.mode`.
        read: (layer, position, feature) of activations to return; by default none.
        preactivations: return what enters the activation function instead.
        rows_per_pass: rows in one forward pass; by default as many as fit the memory.

    Raises:
        InterventionError: a change could have no effect in this mode.

    """
    parts = list(run_passes(base, changes, mode, read, preactivations, rows_per_pass))
    if not parts:
        raise InterventionError("there are no interventions to run: give at least one row.")
    order = torch.cat([part.rows for part in parts]).argsort()
    return BatchOutcome(
        rows=torch.arange(len(order), device=order.device),
        logits=torch.cat([part.logits for part in parts])[order],
        activations=torch.cat([part.activations for part in parts])[order],
    )


def run_passes(
    base: BaseRun,
    changes: InterventionBatch,
    mode: Mode = DEFAULT,
    read: Int[Tensor, "n 3"] | None = None,
    preactivations: bool = False,
    rows_per_pass: int | None = None,
) -> Iterator[BatchOutcome]:
    """Yield the rows pass by pass, in the order in which they are run; see `intervene_many`."""
    check_reach(base, changes, mode)
    reader = CellReader.of(base, read, preactivations)
    waiting = cut_passes(base, changes, rows_per_pass or plan_rows(base))[::-1]
    while waiting:
        rows = waiting.pop()
        try:
            outcome = _run(base, changes.select(rows), mode, reader)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
            # Out of the device's memory: the estimate was too low, so try again with half of the rows.
            waiting += rows.split(len(rows) // 2)[::-1]
            torch.cuda.empty_cache()
            continue
        yield BatchOutcome(rows, *outcome)


def check_reach(base: BaseRun, changes: InterventionBatch, mode: Mode) -> None:
    """Refuse changes that write only outside a constrained range.

    Raises:
        InterventionError: naming the first such feature and the range.

    """
    if mode.layers is None:
        return
    for layer in changes.features[:, 0].unique().tolist():
        writes = range(layer, layer + base.model.transcoders.layers[layer].decoder.shape[1])
        if not any(mode.writes_at(write) for write in writes):
            raise InterventionError(
                f"features of layer {layer} write at layers {writes.start} to {writes.stop - 1}, outside the "
                f"constrained layers {mode.layers.start} to {mode.layers.stop - 1}: widen the range."
            )


@torch.inference_mode()
def _run(
    base: BaseRun, changes: InterventionBatch, mode: Mode, reader: CellReader
) -> tuple[Float[Tensor, "B V"], Float[Tensor, "B n"]]:
    last = base.last_positions()[changes.prompt_of_row]
    first_layer = min(int(changes.first_layers(base.model.n_layers).min()), base.model.n_layers - 1)
    if mode.replaces_mlps and any(layer.decoder.shape[1] > 1 for layer in base.model.transcoders.layers):
        first_layer = 0  # features of all layers below write here too
    if not mode.freeze_patterns and any(
        maps.value_layer != index for index, maps in enumerate(base.model.maps)
    ):
        first_layer = 0  # layers above take keys and values that those below would not have computed
    first_position = 0
    if mode.freeze_patterns:  # without them every position attends to earlier ones that must be there
        first_position = min(int(changes.first_positions(base.n_positions).min()), int(last.min()))
    activations = reader.clean[changes.prompt_of_row]
    intervention = InterventionPass(
        base,
        changes,
        mode,
        first_layer,
        first_position,
        on_read=lambda layer, inputs: reader.read(layer, inputs, first_position, activations),
    )
    tokens = base.input_tokens[changes.prompt_of_row, first_position:]
    with intervention.applied():
        return last_logits(base.model, tokens, last - first_position), activations


@dataclass(frozen=True)
class CellReader:
    """Reader of the activations of chosen cells, in passes that may leave some of them out."""

    base: BaseRun
    features: Int[Tensor, "n 3"]
    raw: bool
    clean: Float[Tensor, "P n"]
    """Their activations in the clean run of each prompt."""

    @classmethod
    def of(cls, base: BaseRun, features: Int[Tensor, "n 3"] | None, raw: bool) -> CellReader:
        """Read the clean activations."""
        device = base.model.device
        features = torch.zeros(0, 3, dtype=torch.long) if features is None else features
        clean = base.logits.new_zeros(len(base.lengths), len(features))
        reader = cls(base, features.to(device), raw, clean)
        for layer, run in enumerate(base.layers):
            reader.read(layer, run.read, 0, clean)
        return reader

    def read(
        self,
        layer: int,
        inputs: Float[Tensor, "B t d"],
        first_position: int,
        into: Float[Tensor, "B n"],
    ) -> None:
        """Put the activations of one layer's cells that stand in this pass where they belong."""
        here = (self.features[:, 0] == layer) & (self.features[:, 1] >= first_position)
        cells = here.nonzero()[:, 0]
        if len(cells):
            features = self.features[cells, 1:] - torch.tensor([first_position, 0], device=cells.device)
            read = activation_grid(
                self.base.model.transcoders.layers[layer], inputs, features.to(inputs.device), self.raw
            )
            into[:, cells] = read.to(into.device)
