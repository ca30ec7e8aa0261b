"""Grouping of a batch's rows into forward passes.

A pass costs its rows times the layers above its lowest change times the positions after its first, so
rows are halved again and again along whichever of the two saves more, until they fit a pass. For
single-feature changes spread over a prompt this saves about two thirds of the arithmetic.
"""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.intervention_batch import InterventionBatch


def cut_passes(base: BaseRun, changes: InterventionBatch, most_rows: int) -> list[Int[Tensor, " b"]]:
    """Return the rows of each pass, at most `most_rows` of them."""
    layers, positions = base.model.n_layers, base.n_positions
    begin = torch.stack((changes.first_layers(layers), changes.first_positions(positions)), dim=1)
    left = torch.tensor([layers, positions], device=begin.device) - begin
    return _cut(torch.arange(changes.n_rows, device=begin.device), left, most_rows)


def _cut(rows: Int[Tensor, " b"], left: Int[Tensor, "B 2"], most_rows: int) -> list[Int[Tensor, " b"]]:
    if len(rows) <= most_rows:
        return [rows] if len(rows) else []
    # Rows that fit a whole number of passes, so that halving leaves no small rests.
    n_passes = -(-len(rows) // most_rows)
    at = (n_passes // 2) * most_rows
    ways = [rows[left[rows, axis].argsort(descending=True, stable=True)] for axis in (0, 1)]
    first, second = min(((way[:at], way[at:]) for way in ways), key=lambda way: _cost(way, left))
    return _cut(first, left, most_rows) + _cut(second, left, most_rows)


def _cost(parts: tuple[Int[Tensor, " b"], ...], left: Int[Tensor, "B 2"]) -> int:
    return sum(len(part) * int(left[part].amax(0).prod()) for part in parts)
