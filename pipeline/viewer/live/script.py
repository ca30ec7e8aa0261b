"""A run of the page as Python that repeats it: the same call of `pipeline.intervention`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.features import parse_feature

MODES = {"direct": "DEFAULT", "full": "OPEN", "replacement": "REPLACEMENT"}
"""Names of the modes in `pipeline.intervention`."""


def python_of(
    url: str, token_ids: Sequence[int], changes: Sequence[Mapping[str, Any]], mode: str, tokens: Sequence[int]
) -> str:
    """Return the program that prints the probabilities of these tokens after these changes."""
    lines = "\n    ".join(_intervention(change) for change in changes)
    return f"""import torch

from pipeline.intervention import {MODES[mode]}, Intervention, intervene
from pipeline.store import Output
from pipeline.sweep_model import recorded_model

model = recorded_model(Output({url!r})).load()
changes = [
    {lines}
]
outcome = intervene(model, torch.tensor({list(token_ids)}), changes, {MODES[mode]})
print(outcome.logits[-1].float().softmax(-1)[{list(tokens)}].tolist())
"""


def _intervention(change: Mapping[str, Any]) -> str:
    name = parse_feature(change["node"])
    position = "all" if name.position is None else name.position
    amount = "value" if change["kind"] == "set" else "factor"
    made = f"Intervention({name.layer}, {position!r}, {name.feature}, {amount}={float(change['value'])!r})"
    return f"{made},  # as {change['source']!r}" if "source" in change else f"{made},"
