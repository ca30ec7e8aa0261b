"""One set of interventions on one prompt, with everything that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.batch import check_reach
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.intervention_batch import InterventionBatch
from pipeline.intervention.intervention_pass import InterventionPass
from pipeline.intervention.mode import DEFAULT, Mode
from pipeline.model import ReplacementModel


@dataclass(frozen=True)
class Outcome:
    """Outcome of an intervention. T positions, F features of a layer, V vocabulary."""

    logits: Float[Tensor, "T V"]
    """Logits at every position."""

    activations: tuple[Float[Tensor, "T F"], ...]
    """For each layer, the activations that its dictionary reads off the changed model (not the values
    that were set); 0 at positions that carry no features."""


def intervene(
    model: ReplacementModel,
    prompt: str | Sequence[int] | Tensor,
    interventions: Sequence[Intervention],
    mode: Mode = DEFAULT,
    *,
    preactivations: bool = False,
) -> Outcome:
    """Set features to other values and return logits and activations.

    Args:
        model: the model with its transcoders.
        prompt: text or token ids.
        interventions: changes to make; where two name the same feature and position, the later counts.
        mode: values that are frozen; see `pipeline.intervention.mode`.
        preactivations: return what enters the activation functions instead of activations.

    Raises:
        PromptError: the prompt cannot be traced.
        InterventionError: a layer, position or feature does not exist, or a change could have no effect.

    """
    base = BaseRun.of(model, [prompt])
    changes = InterventionBatch.of(base, [interventions])
    check_reach(base, changes, mode)
    return _run(base, changes, mode, preactivations)


@torch.inference_mode()
def _run(base: BaseRun, changes: InterventionBatch, mode: Mode, raw: bool) -> Outcome:
    model = base.model
    activations: list[Tensor] = []

    def keep(index: int, read: Float[Tensor, "1 T d"]) -> None:
        layer = model.transcoders.layers[index]
        values = layer.preactivations(read[0]) if raw else layer.encode(read[0])
        values[: model.zero_positions] = 0
        activations.append(values)

    intervention = InterventionPass(base, changes, mode, first_layer=0, first_position=0, on_read=keep)
    with intervention.applied():
        logits = model.model(input_ids=base.input_tokens, use_cache=False).logits[0]
    return Outcome(logits, tuple(activations))
