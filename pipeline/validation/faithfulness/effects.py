"""The effect of an intervention on the output, in four numbers.

Logits are compared less their mean over the vocabulary, as a graph's targets are: a shift of all logits
alike changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.intervention import BaseRun, InterventionBatch, Mode, run_passes
from pipeline.validation.faithfulness.circuit import Circuit


@dataclass(frozen=True)
class Effects:
    """The output of B rows of interventions."""

    effect: Float[np.ndarray, " B"]
    """Sum over targets of probability times |change of the centred logit|, in logits."""

    divergence: Float[np.ndarray, " B"]
    """KL(clean || changed), in nats."""

    log_probability: Float[np.ndarray, " B"]
    """Of the first target, in nats."""

    logit_difference: Float[np.ndarray, " B"]
    """First target less its rival, in logits."""

    def row(self, index: int) -> dict[str, float]:
        """Return one row's numbers by column of `validations`."""
        return {name: float(values[index]) for name, values in vars(self).items()}


@dataclass(frozen=True)
class OutputMetrics:
    """Outputs of one prompt, measured against its clean run."""

    clean: Float[Tensor, " V"]
    """Logits of the clean run, in float64: a small divergence is a difference of like numbers."""

    targets: Int[Tensor, " K"]
    probabilities: Float[Tensor, " K"]
    rival: int
    """The likeliest token besides the first target."""

    @classmethod
    def of(cls, base: BaseRun, circuit: Circuit) -> OutputMetrics:
        """Measure a circuit's targets, or the likeliest token where none of them is one."""
        clean = base.logits[0].double()
        tokens = torch.from_numpy(circuit.targets).to(clean.device)
        targets = tokens if len(tokens) else clean.argmax()[None]
        others = clean.clone()
        others[targets[0]] = -torch.inf
        return cls(clean, targets, clean.softmax(0)[targets], int(others.argmax()))

    def observe(self, logits: Float[Tensor, "B V"]) -> Float[Tensor, "B 4"]:
        """Return the four numbers of each row."""
        logits = logits.double()
        change = logits - self.clean
        change = change[:, self.targets] - change.mean(1, keepdim=True)
        log_probabilities = logits.log_softmax(1)
        before = self.clean.log_softmax(0)
        columns = (
            (change.abs() * self.probabilities).sum(1),
            (before.exp() * (before - log_probabilities)).sum(1).clamp(min=0),
            log_probabilities[:, self.targets[0]],
            logits[:, self.targets[0]] - logits[:, self.rival],
        )
        return torch.stack(columns, dim=1)

    def run(self, base: BaseRun, changes: InterventionBatch, mode: Mode) -> Effects:
        """Run rows of interventions and observe each."""
        found = self.clean.new_zeros(changes.n_rows, 4)
        for outcome in run_passes(base, changes, mode):
            found[outcome.rows] = self.observe(outcome.logits)
        return Effects(*found.T.cpu().numpy())
