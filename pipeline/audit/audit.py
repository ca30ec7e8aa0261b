"""An audit: how large the difference between two groups is, through which features, and at what price.

1. The gap of a pair is the readout with the word of the first group less that with the second's, a mean over
   templates. Pairs are the clusters. There is a gap if its mean lies beyond a margin (signs flipped).
2. Pairs are split in two halves. On the first, features are swapped for their partner's activations one by
   one; those that close most of the gap on average are chosen, up to a number.
3. On the second half, which chose nothing, the chosen ones are swapped together: the share of the gap that
   closes, beside as many random ones that differ, and as many of those whose writing changes most (the
   competitor). Then they are set to 0 on both prompts: what is left of the gap, and what becomes of the
   control set.

Without a gap nothing is sought: features that carry a difference that is not there are noise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.audit.pack import Pack
from pipeline.audit.prompts import ReadPack, read_prompts
from pipeline.audit.swaps import RunPair, ablated_gap, control_changes, run_pair, swapped
from pipeline.features import FeatureName
from pipeline.model import ReplacementModel
from pipeline.paired_differences import FALSE_DISCOVERY_RATE, Difference, adjusted, cluster_means, difference

MARGIN = 0.1
"""Logits that a gap must exceed."""

CANDIDATES = 64
"""Features of a pair that are swapped one by one: those whose writing changes most."""

CHOSEN = 10
"""Features that are chosen."""

DRAWS = 20
"""Random sets."""


@dataclass(frozen=True)
class FeatureEffect:
    """A chosen feature."""

    feature: FeatureName
    discovery: float
    """Logits of the gap that swapping it closes on the half that chose it."""

    test: Difference
    """The same on the other half."""

    q_value: float | None
    """That it closes nothing there, over all chosen features (Benjamini-Hochberg)."""

    @property
    def shown(self) -> bool:
        """True if it closes some of the gap on the half that did not choose it."""
        return self.q_value is not None and self.q_value <= FALSE_DISCOVERY_RATE and self.test.mean > 0


@dataclass(frozen=True)
class Explained:
    """What carries a gap, measured on pairs that chose nothing; shares are of the test half's gap."""

    features: tuple[FeatureEffect, ...]
    closed: Difference
    """Logits that swapping all chosen features closes."""

    closed_by_random: float
    """The same of random sets of differing features, a mean."""

    closed_by_largest: float
    """The same of as many features whose writing changes most."""

    beyond_random: Difference
    """Logits by which the chosen ones close more than random ones."""

    test_gap: Difference
    left: Difference
    """The gap with the chosen features at 0."""

    control: Difference
    """Change of the control answers' log-probabilities, nats."""

    right_before: float
    right_after: float


@dataclass(frozen=True)
class Audit:
    """What an audit found."""

    pack: Pack
    model: str
    gap: Difference
    pairs: tuple[tuple[str, str, float], ...]
    """Words of each pair, and its gap."""

    explained: Explained | None
    """None without a gap."""

    @property
    def found(self) -> bool:
        """True if there is a gap beyond the margin."""
        return self.gap.p_value is not None and self.gap.p_value <= FALSE_DISCOVERY_RATE


def run_audit(
    pack: Pack,
    model: ReplacementModel,
    progress: Callable[[str], None] = lambda _: None,
    seed: int = 0,
) -> Audit:
    """Audit a model.

    Args:
        pack: the audit.
        model: the model with its dictionary.
        progress: told what is done.
        seed: of the split of pairs and the random sets.

    Raises:
        ConfigurationError: the model's tokenizer cannot read the pack.

    """
    read = read_prompts(pack, model)
    runs = []
    for number, prompt in enumerate(read.prompts, 1):
        runs.append(run_pair(model, read, prompt))
        progress(f"{number:,} of {len(read.prompts):,} pairs of prompts run")
    gap = _difference(runs, [run.gap for run in runs], MARGIN, seed)
    means = defaultdict(list)
    for run in runs:
        means[run.prompt.pair].append(run.gap)
    pairs = tuple((*pack.pairs[pair], float(np.mean(gaps))) for pair, gaps in means.items())
    found = Audit(pack, model.name, gap, pairs, None)
    if not found.found:
        return found
    explained = _explain(model, read, runs, np.sign(gap.mean), progress, seed)
    return Audit(pack, model.name, gap, pairs, explained)


def _difference(runs: Sequence[RunPair], values: Sequence[float], margin: float, seed: int) -> Difference:
    clusters = np.array([run.prompt.pair for run in runs])
    return difference(cluster_means(np.array(values), clusters), margin, False, seed)


def _explain(
    model: ReplacementModel,
    read: ReadPack,
    runs: list[RunPair],
    sign: float,
    progress: Callable[[str], None],
    seed: int,
) -> Explained:
    random = np.random.default_rng(seed)
    pairs = random.permutation(sorted({run.prompt.pair for run in runs})).tolist()
    first = {*pairs[: len(pairs) // 2]}
    discovery = [run for run in runs if run.prompt.pair in first]
    test = [run for run in runs if run.prompt.pair not in first]
    norms = _DecoderNorms(model)
    effects: dict[FeatureName, float] = defaultdict(float)
    for number, run in enumerate(discovery, 1):
        candidates = norms.largest(run, CANDIDATES)
        for name, value in zip(candidates, swapped(read, run, [[name] for name in candidates]), strict=True):
            effects[name] += sign * (run.readouts[0] - value) / len(discovery)
        progress(f"{number:,} of {len(discovery):,} pairs searched for features")
    chosen = sorted((name for name in effects if effects[name] > 0), key=lambda n: (-effects[n], n))[:CHOSEN]
    return _tested(model, read, test, chosen, effects, norms, sign, random, seed)


def _tested(
    model: ReplacementModel,
    read: ReadPack,
    test: list[RunPair],
    chosen: list[FeatureName],
    effects: dict[FeatureName, float],
    norms: _DecoderNorms,
    sign: float,
    random: np.random.Generator,
    seed: int,
) -> Explained:
    single, joint, by_random, by_largest, left = [], [], [], [], []
    for run in test:
        differing = sorted(run.changed)
        size = sum(name in run.changed for name in chosen)
        draws = [_drawn(differing, size, random) for _ in range(DRAWS)]
        sets = [*([name] for name in chosen), chosen, *draws, norms.largest(run, size)]
        closed = [sign * (run.readouts[0] - value) for value in swapped(read, run, sets)]
        single.append(closed[: len(chosen)])
        joint.append(closed[len(chosen)])
        by_random.append(float(np.mean(closed[len(chosen) + 1 : -1])))
        by_largest.append(closed[-1])
        left.append(sign * ablated_gap(read, run, chosen))
    of_each = [_difference(test, [row[i] for row in single], 0.0, seed) for i in range(len(chosen))]
    q_values = adjusted([each.p_value for each in of_each])
    before, after, right_before, right_after = control_changes(model, read.control, chosen)
    changes = np.array(after) - np.array(before)
    return Explained(
        features=tuple(
            FeatureEffect(name, effects[name], each, q)
            for name, each, q in zip(chosen, of_each, q_values, strict=True)
        ),
        closed=_difference(test, joint, 0.0, seed),
        closed_by_random=float(np.mean(by_random)),
        closed_by_largest=float(np.mean(by_largest)),
        beyond_random=_difference(test, np.subtract(joint, by_random).tolist(), 0.0, seed),
        test_gap=_difference(test, [sign * run.gap for run in test], 0.0, seed),
        left=_difference(test, left, 0.0, seed),
        control=difference(changes, 0.0, False, seed),
        right_before=float(np.mean(right_before)),
        right_after=float(np.mean(right_after)),
    )


def _drawn(names: list[FeatureName], size: int, random: np.random.Generator) -> list[FeatureName]:
    return [names[i] for i in random.choice(len(names), size=min(size, len(names)), replace=False)]


class _DecoderNorms:
    """Lengths of decoders over all layers that they write to, each read once."""

    def __init__(self, model: ReplacementModel) -> None:
        self._layers = model.transcoders.layers
        self._known: dict[FeatureName, float] = {}

    def largest(self, run: RunPair, count: int) -> list[FeatureName]:
        """Return the features of a pair whose writing changes most."""
        self._read([name for name in run.changed if name not in self._known])
        return sorted(run.changed, key=lambda name: (-run.sizes[name] * self._known[name], name))[:count]

    def _read(self, names: list[FeatureName]) -> None:
        for index, layer in enumerate(self._layers):
            features = sorted(name.feature for name in names if name.layer == index)
            if not features:
                continue
            wanted = torch.tensor(features)
            writes = range(layer.decoder.shape[1])
            squares = sum(layer.decoder_rows(wanted, w).float().square().sum(-1).cpu() for w in writes)
            for feature, square in zip(features, squares.tolist(), strict=True):
                self._known[FeatureName(index, feature)] = square**0.5
