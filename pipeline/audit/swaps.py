"""What becomes of the readout when features take their partner's activations, or none.

The positions of a pair's two prompts stand side by side, so that a feature of one can be set to what it is on
the other (resample ablation), by itself or with others. Attention patterns are held.

Legend: n cells, (position, feature) of a layer; B rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.audit.prompts import FilledTemplate, ReadControl, ReadPack
from pipeline.features import FeatureName
from pipeline.intervention import BaseRun, Intervention, InterventionBatch, intervene_many
from pipeline.model import ReplacementModel

LEAST_CHANGE = 1e-6
"""Difference of activations below which two prompts agree on a feature."""

Cells = Mapping[tuple[int, int, int], float]
"""Activation of each active (layer, position, feature)."""


@dataclass(frozen=True)
class RunPair:
    """Both prompts of a pair, run as they are."""

    prompt: FilledTemplate
    base: BaseRun
    readouts: tuple[float, float]
    active: tuple[Cells, Cells]

    @property
    def gap(self) -> float:
        """Readout with the first group's word less that with the second's."""
        return self.readouts[0] - self.readouts[1]

    @cached_property
    def changed(self) -> dict[FeatureName, dict[int, float]]:
        """The features that differ: by position, what each is on the second prompt."""
        return {name: {p: other for p, (_, other) in cells.items()} for name, cells in self._both.items()}

    @cached_property
    def sizes(self) -> dict[FeatureName, float]:
        """Sum over positions of how far each of these features' activations differ."""
        return {
            name: sum(abs(one - other) for one, other in cells.values()) for name, cells in self._both.items()
        }

    @cached_property
    def _both(self) -> dict[FeatureName, dict[int, tuple[float, float]]]:
        places = self.prompt.places
        back = {other: one for one, other in places.items()}
        one = {cell: value for cell, value in self.active[0].items() if cell[1] in places}
        other = {(c[0], back[c[1]], c[2]): v for c, v in self.active[1].items() if c[1] in back}
        found: dict[FeatureName, dict[int, tuple[float, float]]] = defaultdict(dict)
        for cell in one.keys() | other.keys():
            values = one.get(cell, 0.0), other.get(cell, 0.0)
            if abs(values[0] - values[1]) > LEAST_CHANGE:
                layer, position, feature = cell
                found[FeatureName(layer, feature)][position] = values
        return dict(found)


def readout(pack: ReadPack, logits: Float[Tensor, "B V"]) -> list[float]:
    """Return the logit difference of each row."""
    logits = logits.double()
    plus, minus = (logits[:, list(words)].logsumexp(-1) for words in (pack.plus, pack.minus))
    return (plus - minus).tolist()


def run_pair(model: ReplacementModel, pack: ReadPack, prompt: FilledTemplate) -> RunPair:
    """Run both prompts of a pair."""
    base = BaseRun.of(model, prompt.tokens)
    one, other = readout(pack, base.logits)
    return RunPair(prompt, base, (one, other), (_active(base, 0), _active(base, 1)))


def _active(base: BaseRun, prompt: int) -> Cells:
    found: dict[tuple[int, int, int], float] = {}
    for index, cells in enumerate(base.active):
        here = cells[cells[:, 0] == prompt]
        if not len(here):
            continue
        values = base.model.transcoders.layers[index].encode(base.layers[index].read[prompt])
        for _, position, feature in here.tolist():
            found[index, position, feature] = float(values[position, feature])
    return found


def swapped(pack: ReadPack, pair: RunPair, sets: Sequence[Sequence[FeatureName]]) -> list[float]:
    """Return the first prompt's readout with each set of features as the second has them."""
    rows = [
        [
            Intervention(name.layer, position, name.feature, value=value)
            for name in chosen
            for position, value in pair.changed.get(name, {}).items()
        ]
        for chosen in sets
    ]
    return _run(pack, pair.base, rows, [0] * len(rows))


def ablated_gap(pack: ReadPack, pair: RunPair, features: Sequence[FeatureName]) -> float:
    """Return the gap of a pair with features at 0 on both prompts."""
    rows = [_zeros(pair.active[prompt], features) for prompt in (0, 1)]
    one, other = _run(pack, pair.base, rows, [0, 1])
    return one - other


def _zeros(active: Cells, features: Sequence[FeatureName]) -> list[Intervention]:
    named = {(name.layer, name.feature) for name in features}
    return [Intervention(c[0], c[1], c[2], value=0.0) for c in active if (c[0], c[2]) in named]


def _run(pack: ReadPack, base: BaseRun, rows: list[list[Intervention]], prompts: list[int]) -> list[float]:
    return readout(pack, intervene_many(base, InterventionBatch.of(base, rows, prompts)).logits)


def control_changes(
    model: ReplacementModel, control: Sequence[ReadControl], features: Sequence[FeatureName]
) -> tuple[list[float], list[float], list[bool], list[bool]]:
    """Return the control answers' log-probabilities, before and with features at 0, and which are right."""
    found: tuple[list[float], list[float], list[bool], list[bool]] = ([], [], [], [])
    for each in control:
        base = BaseRun.of(model, [each.tokens])
        rows = [_zeros(_active(base, 0), features)]
        after = intervene_many(base, InterventionBatch.of(base, rows)).logits
        for place, logits in ((0, base.logits), (1, after)):
            found[place].append(float(torch.log_softmax(logits[0].double(), -1)[each.answer]))
            found[place + 2].append(int(logits[0].argmax()) == each.answer)
    return found
