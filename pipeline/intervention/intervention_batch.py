"""Many interventions as flat tensors: which row of a batch sets which feature to what.

A row is one run of one prompt under one set of interventions. Flat tensors let thousands of rows with
hundreds of features each be cut, sorted and moved without a Python object a feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipeline.errors import InterventionError
from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.intervention import Intervention
from pipeline.transcoders import Transcoders


@dataclass(frozen=True)
class InterventionBatch:
    """Changes of n features over B rows; no row changes a (layer, position, feature) twice."""

    prompt_of_row: Int[Tensor, " B"]
    """Index of the base run's prompt that each row starts from."""

    rows: Int[Tensor, " n"]
    """The row of each change."""

    features: Int[Tensor, "n 3"]
    """(layer, position, feature) of each change."""

    amounts: Float[Tensor, " n"]
    """Value to set, or factor to multiply by."""

    is_factor: Bool[Tensor, " n"]
    """True where the amount is a factor."""

    without_errors: Bool[Tensor, " B"]
    """Rows without error nodes: the clean run's error vectors are subtracted."""

    @property
    def n_rows(self) -> int:
        """Rows of the batch, B."""
        return len(self.prompt_of_row)

    @classmethod
    def of(
        cls,
        base: BaseRun,
        interventions: Sequence[Sequence[Intervention]],
        prompt_of_row: Sequence[int] | None = None,
    ) -> InterventionBatch:
        """Lay out one set of interventions a row.

        Args:
            base: the clean run of the prompts.
            interventions: for each row its interventions; where two set the same feature at the same
                position, the later one counts.
            prompt_of_row: for each row its prompt; by default the only one.

        Raises:
            InterventionError: a layer, position or feature does not exist.

        """
        prompts = [0] * len(interventions) if prompt_of_row is None else list(prompt_of_row)
        cells: dict[tuple[int, int, int, int], Intervention] = {}
        for row, (prompt, listed) in enumerate(zip(prompts, interventions, strict=True)):
            for item in listed:
                _check_feature(item, base.model.transcoders)
                for position in item.positions(base.lengths[prompt], base.model.zero_positions):
                    cells[row, item.layer, position, item.feature] = item
        device = base.model.device
        index = torch.tensor(list(cells), dtype=torch.long, device=device).view(-1, 4)
        return cls(
            prompt_of_row=torch.tensor(prompts, dtype=torch.long, device=device),
            rows=index[:, 0],
            features=index[:, 1:],
            amounts=torch.tensor([item.amount for item in cells.values()], dtype=base.dtype, device=device),
            is_factor=torch.tensor(
                [item.factor is not None for item in cells.values()], dtype=torch.bool, device=device
            ),
            without_errors=torch.zeros(len(prompts), dtype=torch.bool, device=device),
        )

    @classmethod
    def ablating(
        cls, base: BaseRun, sets: Sequence[Int[Tensor, "n 3"]], without_errors: Sequence[bool] | None = None
    ) -> InterventionBatch:
        """Set every feature of one set of (layer, position, feature) a row to 0, on one prompt.

        Args:
            base: the clean run of that prompt.
            sets: each row's features.
            without_errors: for each row whether errors go too; by default nowhere.

        """
        return cls.setting(base, sets, torch.zeros(sum(map(len, sets))), without_errors)

    @classmethod
    def setting(
        cls,
        base: BaseRun,
        sets: Sequence[Int[Tensor, "n 3"]],
        values: Float[Tensor, " m"],
        without_errors: Sequence[bool] | None = None,
    ) -> InterventionBatch:
        """Set the features of one set of (layer, position, feature) a row to values, on one prompt.

        Args:
            base: the clean run of that prompt.
            sets: each row's features.
            values: value of each, the rows' one after the other.
            without_errors: for each row whether errors go too; by default nowhere.

        """
        device = base.model.device
        counts = torch.tensor([len(chosen) for chosen in sets])
        features = torch.cat([*sets, torch.zeros(0, 3, dtype=torch.long)]).to(device)
        return cls(
            prompt_of_row=torch.zeros(len(sets), dtype=torch.long, device=device),
            rows=torch.repeat_interleave(torch.arange(len(sets)), counts).to(device),
            features=features,
            amounts=values.to(device, base.dtype),
            is_factor=torch.zeros(len(features), dtype=torch.bool, device=device),
            without_errors=torch.tensor(without_errors or [False] * len(sets), device=device),
        )

    def first_layers(self, n_layers: int) -> Int[Tensor, " B"]:
        """Return the lowest layer that each row changes; `n_layers` for a row without changes."""
        lowest = torch.full_like(self.prompt_of_row, n_layers).masked_fill(self.without_errors, 0)
        return lowest.scatter_reduce(0, self.rows, self.features[:, 0], "amin")

    def first_positions(self, n_positions: int) -> Int[Tensor, " B"]:
        """Return the first position that each row changes; the last for a row without changes."""
        first = torch.full_like(self.prompt_of_row, n_positions - 1).masked_fill(self.without_errors, 0)
        return first.scatter_reduce(0, self.rows, self.features[:, 1], "amin")

    def select(self, chosen: Int[Tensor, " b"]) -> InterventionBatch:
        """Return the changes of some rows, renumbered in the order given."""
        number = torch.full_like(self.prompt_of_row, -1)
        number[chosen] = torch.arange(len(chosen), device=number.device)
        kept = number[self.rows] >= 0
        return InterventionBatch(
            prompt_of_row=self.prompt_of_row[chosen],
            rows=number[self.rows[kept]],
            features=self.features[kept],
            amounts=self.amounts[kept],
            is_factor=self.is_factor[kept],
            without_errors=self.without_errors[chosen],
        )

    def at(self, layer: int) -> Int[Tensor, " m"]:
        """Return the indices of the changes at one layer."""
        return (self.features[:, 0] == layer).nonzero()[:, 0]


def _check_feature(item: Intervention, transcoders: Transcoders) -> None:
    if not 0 <= item.layer < transcoders.n_layers:
        raise InterventionError(
            f"intervention names layer {item.layer}: this model's layers run from 0 to "
            f"{transcoders.n_layers - 1}."
        )
    n_features = transcoders.layers[item.layer].n_features
    if not 0 <= item.feature < n_features:
        raise InterventionError(
            f"intervention names feature {item.name}: features of that layer run from 0 to {n_features - 1}."
        )
