"""What the model's process answers, through `pipeline.intervention` and the sweep's own engine.

`run` is `pipeline.intervention.intervene` for the same prompt, changes and mode, and gives its numbers to the
last bit. `dose` and `effects` run many changes in batches, as validations do. `trace` is what a sweep does
with a prompt, into an output of its own that the parent reads like any other.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from pipeline.errors import InterventionError, PromptError
from pipeline.features import parse_feature
from pipeline.intervention import (
    DEFAULT,
    OPEN,
    REPLACEMENT,
    BaseRun,
    CellReader,
    Intervention,
    InterventionBatch,
    Mode,
    intervene,
    intervene_many,
)
from pipeline.model import ReplacementModel, render_chat, token_text
from pipeline.store import Output
from pipeline.store.commits import prompt_key, shard_id
from pipeline.store.rows import graph_tables
from pipeline.sweep import (
    AttributionConfig,
    Engine,
    EngineConfig,
    PruningConfig,
    TargetsConfig,
    traced_prompt,
)
from pipeline.sweep.prompts import TokenizedPrompt, chosen_for_all
from pipeline.sweep_model import recorded_model
from pipeline.token_labels import printable_token
from pipeline.viewer.live.loaded import Loaded

MODES: dict[str, Mode] = {"direct": DEFAULT, "full": OPEN, "replacement": REPLACEMENT}
"""Modes by the page's words."""

CHANGES, ROWS, EFFECTS = 256, 64, 4096
"""Most changes of a run, rows of a dose curve, and ablations of `effects`."""

TOKENS = 10
"""Tokens that are reported: those that moved most."""

BASE_RUNS = 8
"""Prompts whose clean runs are kept."""


@dataclass
class SweepsModel:
    """The sweep's model as it was recorded, with clean runs of the prompts asked about last."""

    loaded: Loaded
    model: ReplacementModel
    engine: Engine
    bases: OrderedDict[tuple[int, ...], BaseRun] = field(default_factory=OrderedDict)
    numbers: itertools.count = field(default_factory=itertools.count)

    @property
    def device(self) -> torch.device:
        """The device that it is on."""
        return self.model.device

    def base(self, token_ids: Sequence[int]) -> BaseRun:
        """Return the clean run of a prompt."""
        key = tuple(token_ids)
        if key not in self.bases:
            self.bases[key] = BaseRun.of(self.model, [torch.tensor(key)])
            while len(self.bases) > BASE_RUNS:
                self.bases.popitem(last=False)
        self.bases.move_to_end(key)
        return self.bases[key]

    def label(self, token: int) -> str:
        """Return a token as people read it."""
        return printable_token(token_text(self.model.tokenizer, token))


def open_model(loaded: Loaded) -> SweepsModel:
    """Load the model of a sweep exactly as it was.

    Raises:
        ConfigurationError: its files changed since the sweep.
        ModelError, TranscoderError: they cannot be loaded.

    """
    output = Output(loaded.url)
    run, recorded = output.claimed().run, recorded_model(output, loaded.trust_remote_code)
    model = recorded.load(loaded.device)
    rules = {name: value for name, value in run["attribution"].items() if name != "targets"}
    config = EngineConfig(
        model=recorded.model.name,
        transcoders=recorded.transcoders.name,
        dtype=recorded.dtype,
        attribution=AttributionConfig.model_validate(rules),
        pruning=PruningConfig.model_validate(run["pruning"]),
        zero_positions=recorded.zero_positions,
    )
    return SweepsModel(loaded, model, Engine(config, model))


def run(
    model: SweepsModel,
    token_ids: Sequence[int],
    changes: Sequence[Mapping[str, Any]],
    mode: str = "direct",
    watched: Sequence[int] = (),
    cells: Sequence[Sequence[int]] = (),
) -> dict[str, Any]:
    """Change features, and return probabilities and activations before and after.

    Args:
        model: the model.
        token_ids: the prompt.
        changes: `{node, kind, value}` each; kind is `scale` or `set`.
        mode: a word of `MODES`.
        watched: tokens to report besides those that move most.
        cells: (layer, position, feature) of activations to report.

    """
    _check_count("changes", len(changes), CHANGES)
    base = model.base(token_ids)
    outcome = intervene(
        model.model, torch.tensor(list(token_ids)), [_intervention(c) for c in changes], _mode(mode)
    )
    before, after = base.logits[0].float().softmax(-1), outcome.logits[-1].float().softmax(-1)
    moved = (after - before).abs().topk(min(TOKENS, len(after))).indices.tolist()
    tokens = list(dict.fromkeys([*watched, int(before.argmax()), int(after.argmax()), *moved]))
    clean = CellReader.of(base, torch.tensor(cells, dtype=torch.long).view(-1, 3), raw=False).clean[0]
    return {
        "tokens": [
            {
                "token_id": token,
                "label": model.label(token),
                "before": float(before[token]),
                "after": float(after[token]),
                "logit_before": float(base.logits[0, token]),
                "logit_after": float(outcome.logits[-1, token]),
            }
            for token in tokens
        ],
        "activations": [
            {
                "node": f"{layer}/{feature}@{position}",
                "before": float(old),
                "after": float(outcome.activations[layer][position, feature]),
            }
            for (layer, position, feature), old in zip(cells, clean.tolist(), strict=True)
        ],
    }


def dose(
    model: SweepsModel,
    token_ids: Sequence[int],
    changes: Sequence[Mapping[str, Any]],
    strengths: Sequence[float],
    mode: str = "direct",
    watched: Sequence[int] = (),
) -> dict[str, Any]:
    """Return the probabilities of the answers while all changes are made at each of several strengths.

    At strength s a feature that is set to v is set to s times v, and one that is scaled is scaled by s,
    whatever the page's own factor is.
    """
    _check_count("strengths", len(strengths), ROWS)
    _check_count("changes", len(changes), CHANGES)
    base = model.base(token_ids)
    rows = [[_intervention(_dosed(change, s), s) for change in changes] for s in strengths]
    logits = intervene_many(base, InterventionBatch.of(base, rows), _mode(mode)).logits
    probabilities = logits.float().softmax(-1)
    clean = base.logits[0].float().softmax(-1)
    likeliest = [int(row.argmax()) for row in probabilities]
    tokens = list(dict.fromkeys([*watched, int(clean.argmax()), *likeliest]))[:TOKENS]
    return {
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
    target: int,
    mode: str = "direct",
) -> dict[str, Any]:
    """Ablate each feature by itself, and return what that does to one token's logit less the mean of all."""
    _check_count("cells", len(cells), EFFECTS)
    base = model.base(token_ids)
    rows = [[Intervention(layer, position, feature, value=0.0)] for layer, position, feature in cells]
    logits = intervene_many(base, InterventionBatch.of(base, rows), _mode(mode)).logits.float()
    clean = base.logits[0].float()
    centred = (logits[:, target] - logits.mean(-1)) - (clean[target] - clean.mean())
    moved = logits.log_softmax(-1)[:, target] - clean.log_softmax(-1)[target]
    return {
        "target": model.label(target),
        "effects": [
            {"node": f"{layer}/{feature}@{position}", "logit": logit, "log_probability": change}
            for (layer, position, feature), logit, change in zip(
                cells, centred.tolist(), moved.tolist(), strict=True
            )
        ],
    }


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


def _dosed(change: Mapping[str, Any], strength: float) -> Mapping[str, Any]:
    return {**change, "value": strength} if change.get("kind") == "scale" else change


def _intervention(change: Mapping[str, Any], strength: float = 1.0) -> Intervention:
    """Read one change of the page's."""
    name, kind, value = parse_feature(str(change.get("node"))), change.get("kind"), change.get("value")
    if kind not in ("scale", "set") or not isinstance(value, int | float) or isinstance(value, bool):
        raise InterventionError(
            f"change {dict(change)!r:.200} must have a kind, scale or set, and a number as value."
        )
    position = "all" if name.position is None else name.position
    if kind == "set":
        return Intervention(name.layer, position, name.feature, value=float(value) * strength)
    return Intervention(name.layer, position, name.feature, factor=float(value))


def _mode(word: str) -> Mode:
    if word not in MODES:
        raise InterventionError(f"mode {word[:40]!r} is none of {', '.join(MODES)}.")
    return MODES[word]


def _check_count(what: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise InterventionError(f"there are {count} {what}: give 1 to {most}.")


ACTIONS = {"run": run, "dose": dose, "effects": effects, "trace": trace}
"""Functions by the words of messages."""
