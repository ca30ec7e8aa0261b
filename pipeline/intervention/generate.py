"""Continue a prompt while features are held at values, with the model's own cache.

Nothing of the model is frozen (mode `OPEN`): a cache of keys and values only means something for the
patterns that those keys made. Interventions on all positions or with an open end go on at every new
position; others stay where they are in the prompt. Each row samples from its own generator, so what a
row says does not depend on which rows it runs beside, and two rows with the same seed share their luck.

Legend: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from math import isfinite

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from pipeline.errors import InterventionError
from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.intervention_batch import InterventionBatch
from pipeline.intervention.intervention_pass import InterventionPass
from pipeline.intervention.mode import OPEN
from pipeline.model import LAST, ReplacementModel

COLDEST = 1e-6
"""Lowest temperature above 0: below, logits over it are no numbers."""


@dataclass(frozen=True)
class Continuation:
    """Generated text of one row."""

    token_ids: tuple[int, ...]
    """New tokens, without the prompt and up to the token that ends it."""

    text: str
    """The same, decoded."""

    logits: Float[Tensor, " V"]
    """Logits from which the first new token was taken."""


def generate(
    model: ReplacementModel,
    prompt: str | Sequence[int] | Tensor,
    interventions: Sequence[Sequence[Intervention]],
    max_new_tokens: int = 20,
    *,
    temperature: float = 0.0,
    seed: int = 0,
    stop: Sequence[int] = (),
) -> list[Continuation]:
    """Continue one prompt under several sets of interventions side by side.

    Args:
        model: the model with its transcoders.
        prompt: text or token ids.
        interventions: one set a row; an empty set continues the prompt as the clean model does.
        max_new_tokens: most tokens to add.
        temperature: 0 takes the most likely token; above, samples.
        seed: of the sampling, the same for every row.
        stop: tokens that end the text, beside the model's own.

    Raises:
        PromptError: the prompt cannot be traced.
        InterventionError: a layer, position or feature does not exist, an option is out of range, or the
            model overflows.

    """
    base = BaseRun.of(model, [prompt])
    _check(base, interventions, max_new_tokens, temperature)
    changes = InterventionBatch.of(base, interventions)
    pick = _Picker(len(interventions), temperature, seed)
    cache = DynamicCache(config=model.model.config)
    first = _step(base, changes, base.input_tokens.expand(len(interventions), -1), cache)
    new = [pick(first)]
    ends = [*_ends(model), *stop]
    ended = torch.isin(new[-1], torch.tensor(ends, device=new[-1].device))
    while len(new) < max_new_tokens and not ended.all():
        going_on = _next_position(base, interventions, base.n_positions + len(new) - 1)
        new.append(pick(_step(base, going_on, new[-1][:, None], cache)))
        ended = ended | torch.isin(new[-1], torch.tensor(ends, device=new[-1].device))
    return [
        _continuation(model, ids, ends, row)
        for ids, row in zip(torch.stack(new, 1).tolist(), first, strict=True)
    ]


@torch.inference_mode()
def _step(
    base: BaseRun, changes: InterventionBatch, tokens: Int[Tensor, "B t"], cache: DynamicCache
) -> Float[Tensor, "B V"]:
    with InterventionPass(base, changes, OPEN, first_layer=0, first_position=0).applied():
        output = base.model.model(
            input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=LAST
        )
    logits = output.logits[:, -1]
    if not torch.isfinite(logits).all():
        raise InterventionError(
            "the model's logits are no longer finite numbers under these interventions: make them weaker."
        )
    return logits


def _next_position(
    base: BaseRun, interventions: Sequence[Sequence[Intervention]], position: int
) -> InterventionBatch:
    """Return the changes of a pass that holds nothing but one new position."""
    lasting = [
        [replace(item, position=-1) for item in row if item.goes_on_at(position, base.n_positions)]
        for row in interventions
    ]
    changes = InterventionBatch.of(base, lasting)
    return replace(
        changes, features=changes.features * torch.tensor([1, 0, 1], device=changes.features.device)
    )


def _check(
    base: BaseRun, interventions: Sequence[Sequence[Intervention]], max_new_tokens: int, temperature: float
) -> None:
    if not interventions:
        raise InterventionError("there is nothing to generate: give at least one (possibly empty) set.")
    if max_new_tokens < 1 or not isfinite(temperature) or temperature < 0 or 0 < temperature < COLDEST:
        raise InterventionError(
            f"max_new_tokens is {max_new_tokens} and temperature {temperature}: give at least 1 token and a "
            f"temperature of 0 (greedy) or from {COLDEST:g}."
        )
    room = base.model.context_length
    if room is not None and base.n_positions + max_new_tokens > room:
        raise InterventionError(
            f"the prompt's {base.n_positions} tokens and {max_new_tokens} new ones exceed the model's "
            f"context of {room}: ask for at most {room - base.n_positions}."
        )


def _ends(model: ReplacementModel) -> list[int]:
    """Return the tokens that end a text: as transformers' `generate`, else the tokenizer's."""
    # Instruction-tuned models list two, the end of a text and the end of a turn.
    ends = getattr(getattr(model.model, "generation_config", None), "eos_token_id", None)
    ends = model.tokenizer.eos_token_id if ends is None else ends
    if ends is None:
        return []
    return [ends] if isinstance(ends, int) else list(ends)


def _continuation(
    model: ReplacementModel, ids: list[int], ends: Sequence[int], logits: Float[Tensor, " V"]
) -> Continuation:
    kept = list(takewhile(lambda token: token not in ends, ids))
    return Continuation(tuple(kept), model.tokenizer.decode(kept), logits)


class _Picker:
    """Sampler of one token per row: the most likely, or drawn from the row's own generator."""

    def __init__(self, n_rows: int, temperature: float, seed: int) -> None:
        self._temperature = temperature
        self._generators = [torch.Generator().manual_seed(seed) for _ in range(n_rows)]

    def __call__(self, logits: Float[Tensor, "B V"]) -> Int[Tensor, " B"]:
        if self._temperature == 0:
            return logits.argmax(-1)
        cumulative = (logits.double() / self._temperature).softmax(-1).cumsum(-1).cpu()
        luck = torch.stack([torch.rand(1, generator=g, dtype=torch.float64) for g in self._generators])
        taken = torch.searchsorted(cumulative, luck * cumulative[:, -1:]).clamp(max=logits.shape[1] - 1)
        return taken[:, 0].to(logits.device)
