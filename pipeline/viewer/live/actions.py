"""What the model's process answers of one prompt, through `pipeline.intervention` and the sweep's own engine.

`run` is `pipeline.intervention.intervene` for the same prompt, changes and mode, and gives its numbers to the
last bit. `dose` and `effects` run many changes in batches, as validations do. `trace` is what a sweep does
with a prompt, into an output of its own that the parent reads like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.errors import InterventionError, PromptError
from pipeline.graph import subgraph_scores
from pipeline.intervention import (
    CellReader,
    Intervention,
    InterventionBatch,
    intervene,
    intervene_many,
)
from pipeline.model import render_chat
from pipeline.store import Output
from pipeline.store.commits import prompt_key, shard_id
from pipeline.store.rows import graph_tables
from pipeline.sweep import TargetsConfig, traced_prompt
from pipeline.sweep.prompts import TokenizedPrompt, chosen_for_all
from pipeline.validation import spearman
from pipeline.viewer.live.changes import Change, centred, dosed, intervention, mode_of, resolved
from pipeline.viewer.live.features import ablate, promoted
from pipeline.viewer.live.sweeps_model import SweepsModel

ROWS, EFFECTS = 64, 4096
"""Most rows of a dose curve, and ablations of `effects`."""

TOKENS = 10
"""Tokens that are reported: those that moved most."""


def run(
    model: SweepsModel,
    token_ids: Sequence[int],
    changes: Sequence[Change],
    mode: str = "direct",
    watched: Sequence[int] = (),
    cells: Sequence[Sequence[int]] = (),
) -> dict[str, Any]:
    """Change features, and return probabilities and activations before and after.

    Args:
        model: the model.
        token_ids: the prompt.
        changes: see `Change`.
        mode: a word of `MODES`.
        watched: tokens to report besides those that move most.
        cells: (layer, position, feature) of activations to report.

    """
    made = resolved(model, token_ids, changes)
    base = model.base(token_ids)
    interventions = [intervention(change) for change in made]
    outcome = intervene(model.model, torch.tensor(list(token_ids)), interventions, mode_of(mode))
    old, new = base.logits[0], outcome.logits[-1]
    before, after = old.float().softmax(-1), new.float().softmax(-1)
    change = centred(new) - centred(old)
    moved = (after - before).abs().topk(min(TOKENS, len(after))).indices.tolist()
    tokens = list(dict.fromkeys([*watched, int(before.argmax()), int(after.argmax()), *moved]))
    clean = CellReader.of(base, torch.tensor(cells, dtype=torch.long).view(-1, 3), raw=False).clean[0]
    return {
        "changes": made,
        "clean": before[list(watched)].tolist(),
        "tokens": [
            {
                "token_id": token,
                "label": model.label(token),
                "before": float(before[token]),
                "after": float(after[token]),
                "logit_change": float(change[token]),
            }
            for token in tokens
        ],
        "activations": [
            {
                "node": f"{layer}/{feature}@{position}",
                "before": float(old_activation),
                "after": float(outcome.activations[layer][position, feature]),
            }
            for (layer, position, feature), old_activation in zip(cells, clean.tolist(), strict=True)
        ],
    }


def dose(
    model: SweepsModel,
    token_ids: Sequence[int],
    changes: Sequence[Change],
    strengths: Sequence[float],
    mode: str = "direct",
    watched: Sequence[int] = (),
) -> dict[str, Any]:
    """Return the probabilities of the answers while all changes are made at each of several strengths.

    At strength s a feature that is set to v is set to s times v, and one that is scaled is scaled by s,
    whatever the page's own factor is.
    """
    _check_count("strengths", len(strengths), ROWS)
    made = resolved(model, token_ids, changes)
    base = model.base(token_ids)
    rows = [[dosed(change, strength) for change in made] for strength in strengths]
    logits = intervene_many(base, InterventionBatch.of(base, rows), mode_of(mode)).logits
    probabilities = logits.float().softmax(-1)
    clean = base.logits[0].float().softmax(-1)
    likeliest = [int(row.argmax()) for row in probabilities]
    tokens = list(dict.fromkeys([*watched, int(clean.argmax()), *likeliest]))[:TOKENS]
    return {
        "clean": clean[list(watched)].tolist(),
        "strengths": list(strengths),
        "tokens": [
            {
                "token_id": token,
                "label": model.label(token),
                "clean": float(clean[token]),
                "probabilities": probabilities[:, token].tolist(),
            }
            for token in tokens
        ],
    }


def effects(
    model: SweepsModel,
    token_ids: Sequence[int],
    cells: Sequence[Sequence[int]],
    influence: Sequence[float],
    target: int,
    mode: str = "direct",
    watched: Sequence[int] = (),
) -> dict[str, Any]:
    """Ablate each feature by itself, and return what that does to one token's logit less the mean of all.

    Beside the effects stands how well their sizes are ranked by influence, and by the activation alone.
    """
    _check_count("cells", len(cells), EFFECTS)
    base = model.base(token_ids)
    rows = [[Intervention(layer, position, feature, value=0.0)] for layer, position, feature in cells]
    logits = intervene_many(base, InterventionBatch.of(base, rows), mode_of(mode)).logits.float()
    clean = base.logits[0].float()
    changes = (centred(logits) - centred(clean))[:, target]
    moved = logits.log_softmax(-1)[:, target] - clean.log_softmax(-1)[target]
    activations = CellReader.of(base, torch.tensor(cells), raw=False).clean[0]
    return {
        "target": model.label(target),
        "clean": clean.softmax(-1)[list(watched)].tolist(),
        "by_influence": _rank_correlation(torch.tensor(influence), changes),
        "by_activation": _rank_correlation(activations, changes),
        "effects": [
            {"node": f"{layer}/{feature}@{position}", "logit": logit, "log_probability": change}
            for (layer, position, feature), logit, change in zip(
                cells, changes.tolist(), moved.tolist(), strict=True
            )
        ],
    }


def _rank_correlation(sizes: Float[Tensor, " n"], changes: Float[Tensor, " n"]) -> float | None:
    return spearman(np.abs(sizes.double().cpu().numpy()), np.abs(changes.double().cpu().numpy()))


def subgraph(model: SweepsModel, prompt: Mapping[str, Any], cells: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Score the part of a prompt's whole graph that holds these features, every other counted as error."""
    replacement, completeness = subgraph_scores(model.graph(prompt), [tuple(cell) for cell in cells])
    return {"replacement": replacement, "completeness": completeness}


def trace(model: SweepsModel, text: str, target: str | None = None, chat: bool = False) -> dict[str, Any]:
    """Trace a prompt as the sweep would, and return the output that holds its graph alone.

    Raises:
        PromptError: it cannot be traced.
        TargetError: the target is no token.

    """
    if not text:
        raise PromptError("the prompt is empty: type one.")
    loaded = model.model
    if chat:
        if not getattr(loaded.tokenizer, "chat_template", None):
            raise PromptError("this model has no chat template: trace the prompt as plain text.")
        text = render_chat(loaded.tokenizer, text)
    ids = loaded.ensure_tokenized(text).tolist()
    targets = None
    if target:
        vocabulary = loaded.vocabulary_size
        targets = chosen_for_all(TargetsConfig(tokens=(target,)), loaded.tokenizer, vocabulary)
    key = prompt_key(ids)
    prompt = TokenizedPrompt(key=key, id="typed", text=text, token_ids=tuple(ids), targets=targets)
    claimed = Output(model.loaded.url).claimed()
    output = Output(Path(model.loaded.folder, f"typed-{next(model.numbers)}"))
    output.claim(claimed.run, claimed.run_key, pa.schema([]))
    traced = traced_prompt(prompt, model.engine.trace(ids, targets), claimed.run_key)
    output.commit(shard_id([key], claimed.run_key), graph_tables(traced, output.extra_columns))
    return {"output": output.url}


def _check_count(what: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise InterventionError(f"there are {count} {what}: give 1 to {most}.")


ACTIONS = {
    "run": run,
    "dose": dose,
    "effects": effects,
    "subgraph": subgraph,
    "trace": trace,
    "promoted": promoted,
    "ablate": ablate,
}
"""Functions by the words of messages."""
