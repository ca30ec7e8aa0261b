"""The effect of an intervention: on the explained quantities first, then on the whole output.

What a graph explains is what its circuit is judged by. A token's logit counts less the mean over the
vocabulary, as in the graph: a shift of all logits alike changes nothing. A difference is one logit less
another. A feature is its pre-activation, read at its own layer and position.

Necessity and sufficiency are about one number, the `value`: of a token its logit less that of a rival,
because the log-probability of an answer that the model is sure of hardly moves whatever is ablated; of a
difference or a feature what the graph explains. The rival is the answer of the prompt's partner where the
sweep has pairs, else the runner-up, the likeliest other token of the clean run.

Legend: B rows, V vocabulary, K targets, c explained features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.intervention import BaseRun, CellReader, InterventionBatch, Mode, run_passes
from pipeline.validation.faithfulness.explained_target import ExplainedTarget


@dataclass(frozen=True)
class Effects:
    """The outcome of B rows of interventions."""

    effect: Float[np.ndarray, " B"]
    """Sum over targets of weight times |change of the explained quantity|."""

    divergence: Float[np.ndarray, " B"]
    """KL(clean || changed) of the output, in nats."""

    log_probability: Float[np.ndarray, " B"]
    """Of the answer, in nats."""

    value: Float[np.ndarray, " B"]
    """The number that necessity and sufficiency are about."""

    def row(self, index: int) -> dict[str, float]:
        """Return one row's numbers by column of `validations`."""
        return {name: float(values[index]) for name, values in vars(self).items()}


@dataclass(frozen=True)
class OutputMetrics:
    """Explained quantities of one prompt, measured against its clean run."""

    clean: Float[Tensor, " V"]
    """Logits of the clean run, in float64: a small divergence is a difference of like numbers."""

    targets: tuple[ExplainedTarget, ...]

    cells: Int[Tensor, "c 3"]
    """(layer, position, feature) of the targets that are features, in their order."""

    clean_cells: Float[Tensor, " c"]
    """Their pre-activations in the clean run."""

    partner: int | None = None
    """The partner's answer."""

    @classmethod
    def of(
        cls, base: BaseRun, targets: tuple[ExplainedTarget, ...], partner: int | None = None
    ) -> OutputMetrics:
        """Measure what a graph explains, against a partner's answer where there is one."""
        explained = [target.cell for target in targets if target.cell is not None]
        cells = torch.tensor(explained, dtype=torch.long).view(-1, 3)
        clean = CellReader.of(base, cells, raw=True).clean[0]
        return cls(base.logits[0].double(), targets, cells, clean.double(), partner)

    @cached_property
    def answer(self) -> int:
        """The first target's (first) token; where that is a feature, the model's likeliest token."""
        return next(iter(self.targets[0].tokens), int(self.clean.argmax()))

    @cached_property
    def rival(self) -> int | None:
        """The token whose logit is subtracted in the value; None where a feature is explained."""
        first = self.targets[0]
        if first.kind == "token" and self.partner not in (None, self.answer):
            return self.partner
        if first.kind == "token":
            others = self.clean.clone()
            others[self.answer] = -torch.inf
            return int(others.argmax())
        return next((token for token, factor in first.tokens.items() if factor < 0), None)

    def explained(self, logits: Float[Tensor, "B V"], cells: Float[Tensor, "B c"]) -> Float[Tensor, "B K"]:
        """Return every target's quantity in each row."""
        mean, of_features = logits.mean(1), iter(cells.unbind(1))
        columns = []
        for target in self.targets:
            if target.cell is not None:
                columns.append(next(of_features))
                continue
            total = sum(target.tokens.values())  # 0 for a difference, where the mean cancels
            read = sum(factor * logits[:, token] for token, factor in target.tokens.items())
            columns.append(read - total * mean)
        return torch.stack(columns, dim=1)

    def observe(self, logits: Float[Tensor, "B V"], cells: Float[Tensor, "B c"]) -> Float[Tensor, "B 4"]:
        """Return the four numbers of each row."""
        logits, cells = logits.double(), cells.double()
        weights = logits.new_tensor([target.weight for target in self.targets])
        explained = self.explained(logits, cells)
        change = explained - self.explained(self.clean[None], self.clean_cells[None])
        log_probabilities, before = logits.log_softmax(1), self.clean.log_softmax(0)
        is_token = self.targets[0].kind == "token"
        columns = (
            change.abs() @ weights,
            (before.exp() * (before - log_probabilities)).sum(1).clamp(min=0),
            log_probabilities[:, self.answer],
            logits[:, self.answer] - logits[:, self.rival] if is_token else explained[:, 0],
        )
        return torch.stack(columns, dim=1)

    def observe_clean(self) -> Float[Tensor, " 4"]:
        """Return the four numbers of the clean run."""
        return self.observe(self.clean[None], self.clean_cells[None])[0]

    def run(self, base: BaseRun, changes: InterventionBatch, mode: Mode) -> Effects:
        """Run rows of interventions and observe each."""
        found = self.clean.new_zeros(changes.n_rows, 4)
        for outcome in run_passes(base, changes, mode, self.cells, preactivations=True):
            found[outcome.rows] = self.observe(outcome.logits, outcome.activations)
        return Effects(*found.T.cpu().numpy())
