"""POST `/api/live/KIND`: what the page asks of the live model, and how it is answered.

`run`, `dose`, `effects` and `subgraph` are about a stored prompt (`key`), `promoted` and `ablate` about a
feature, `trace` about a text. Answers about a stored prompt say by how much the model's probabilities differ
from the table's, where that is more than rounding.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from pipeline.features import parse_feature
from pipeline.viewer.answers import find_prompt, graph
from pipeline.viewer.asked import Asked, Viewer, literal, quoted
from pipeline.viewer.live import python_of
from pipeline.viewer.packed import Packed
from pipeline.viewer.questions import Question, RefusedError
from pipeline.viewer.states import State

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Strengths of a dose curve."""

SAME = 1e-3
"""Most that a probability of the clean model may differ from the table's without a word."""

ABLATED, MOST_ABLATED = 20, 200
"""Prompts that a feature is ablated on, as a rule and at most."""

CELLS = """
select layer, position, feature, influence from nodes where kind = 'feature' and prompt_key = {key}
order by all
"""

ACTIVE = """
select prompt_key, id, token_ids, targets, prediction_id, {group} as prompt_group from graphs
where prompt_key in (
    select prompt_key from {table} where layer = {layer} and feature = {feature}
) and {where} order by hash(prompt_key)
"""


def live(viewer: Viewer, state: State, question: Question, kind: str) -> dict[str, Any] | Packed:
    """Answer one question through the model's process.

    Raises:
        RefusedError: there is no model here, or no answer came.

    """
    if viewer.model is None:
        reason = "this server was started with --model off."
        raise RefusedError(reason, "Start it without.", HTTPStatus.SERVICE_UNAVAILABLE)
    body = question.body
    name, page = str(body.get("id", id(body))), str(body.get("page", ""))
    if kind == "trace":
        return _traced(viewer, body, name, f"{page} trace {name}")
    if kind in OF_FEATURE:
        return _of_feature(viewer, state, question, kind, name, page)
    with state.lent() as results:  # given back before the model is waited for
        asked = Asked(viewer, state, results, question)
        prompt = find_prompt(asked, str(body.get("key", "")))
        arguments = OF_PROMPT[kind](asked, prompt)
    found = viewer.model.ask(kind, arguments, name, f"{page} {kind} {prompt['prompt_key']}")
    if "clean" in found:
        found["differs"] = _differs(prompt, found.pop("clean"))
    if kind == "run":
        tokens = [row["token_id"] for row in found["tokens"]]
        parts = (arguments["token_ids"], found["changes"], arguments["mode"])
        found["printed"] = python_of(viewer.url, *parts, tokens)
    return found


def _expected(prompt: Mapping[str, Any]) -> dict[int, float]:
    """Probabilities of tokens as the table has them: the targets', and the prediction's."""
    found = {t["token_ids"][0]: t["probability"] for t in prompt["targets"] if t["kind"] == "token"}
    return found | {prompt["prediction_id"]: prompt["prediction_probability"]}


def _differs(prompt: Mapping[str, Any], clean: list[float]) -> float | None:
    """Return the largest difference from the table, or None for what is rounding."""
    largest = max(abs(a - b) for a, b in zip(_expected(prompt).values(), clean, strict=True))
    return largest if largest > SAME else None


def _arguments(asked: Asked, prompt: Mapping[str, Any]) -> dict[str, Any]:
    mode = str(asked.question.body.get("mode") or "direct")
    return {"token_ids": prompt["token_ids"], "mode": mode, "watched": list(_expected(prompt))}


def _cells(asked: Asked, prompt: Mapping[str, Any]) -> list[list[float]]:
    return [list(row.values()) for row in asked.rows(CELLS.format(key=prompt["prompt_key"]))]


def _changes(asked: Asked) -> list[dict[str, Any]]:
    """Read the changes, with the tokens of the prompts that are taken from."""
    body = asked.question.body
    changes = body.get("changes", [body["change"]] if "change" in body else [])
    if not isinstance(changes, list) or not all(isinstance(change, dict) for change in changes):
        raise RefusedError("changes must be a list of {node, kind, value}.")
    return [
        change | {"token_ids": find_prompt(asked, str(change.get("from", "")))["token_ids"]}
        if change.get("kind") == "take"
        else change
        for change in changes
    ]


def _of_run(asked: Asked, prompt: Mapping[str, Any]) -> dict[str, Any]:
    cells = [cell[:3] for cell in _cells(asked, prompt)]
    return _arguments(asked, prompt) | {"changes": _changes(asked), "cells": cells}


def _of_dose(asked: Asked, prompt: Mapping[str, Any]) -> dict[str, Any]:
    strengths = asked.question.body.get("strengths", list(STRENGTHS))
    if not isinstance(strengths, list) or not all(isinstance(s, int | float) for s in strengths):
        raise RefusedError("strengths must be a list of numbers.")
    return _arguments(asked, prompt) | {"changes": _changes(asked), "strengths": strengths}


def _of_effects(asked: Asked, prompt: Mapping[str, Any]) -> dict[str, Any]:
    cells = _cells(asked, prompt)
    arguments = {"cells": [cell[:3] for cell in cells], "influence": [cell[3] for cell in cells]}
    return _arguments(asked, prompt) | arguments | {"target": _target(prompt)}


def _target(prompt: Mapping[str, Any]) -> int:
    """Token whose logit effects are measured on: the first one that the graph explains, or the prediction."""
    explained = [target["token_ids"][0] for target in prompt["targets"] if target["kind"] == "token"]
    return explained[0] if explained else prompt["prediction_id"]


def _of_subgraph(asked: Asked, prompt: Mapping[str, Any]) -> dict[str, Any]:
    nodes = asked.question.body.get("nodes", [])
    if not isinstance(nodes, list):
        raise RefusedError("nodes must be a list of features such as 2/350@8.")
    names = [parse_feature(str(node), "required") for node in nodes]
    needed = ("prompt_key", "token_ids", "targets")
    return {
        "prompt": {name: prompt[name] for name in needed},
        "cells": sorted({(name.layer, name.position, name.feature) for name in names}),
    }


OF_PROMPT: dict[str, Callable[[Asked, Mapping[str, Any]], dict[str, Any]]] = {
    "run": _of_run,
    "dose": _of_dose,
    "effects": _of_effects,
    "subgraph": _of_subgraph,
}
"""Arguments of the actions that are about a stored prompt."""

OF_FEATURE = ("promoted", "ablate")

KINDS = (*OF_PROMPT, *OF_FEATURE, "trace")
"""Words of the questions."""


def _of_feature(
    viewer: Viewer, state: State, question: Question, kind: str, name: str, page: str
) -> dict[str, Any]:
    feature = parse_feature(str(question.body.get("feature", "")), "refused")
    arguments: dict[str, Any] = {"layer": feature.layer, "feature": feature.feature}
    counts = {}
    if kind == "ablate":
        with state.lent() as results:
            rows, counts = _active(Asked(viewer, state, results, question), *feature[:2])
        prompts = [{n: row[n] for n in ("id", "token_ids")} | {"target": _target(row)} for row in rows]
        arguments |= {"prompts": prompts, "mode": str(question.body.get("mode") or "direct")}
    return viewer.model.ask(kind, arguments, name, f"{page} {kind} {feature}") | counts


def _active(asked: Asked, layer: int, feature: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return prompts of a group on which a feature is active, by lot, and how many there are."""
    body, column = asked.question.body, asked.family()
    count = body.get("count", ABLATED)
    if not isinstance(count, int) or not 1 <= count <= MOST_ABLATED:
        raise RefusedError(f"count={count!r:.20} is no whole number from 1 to {MOST_ABLATED}.")
    group = "null::varchar" if column is None else f"{quoted(column)}::varchar"
    table = "activations" if asked.has("activations") else "(from nodes where kind = 'feature')"
    wanted = body.get("group")
    where = "true" if wanted in (None, "") or column is None else f"{group} = {literal(str(wanted))}"
    rows = asked.rows(ACTIVE.format(group=group, table=table, layer=layer, feature=feature, where=where))
    if not rows:
        raise RefusedError(
            f"feature {layer}/{feature} is active on no prompt"
            + ("." if where == "true" else f" of {str(wanted)[:60]!r}."),
            "Choose another group.",
            HTTPStatus.NOT_FOUND,
        )
    return rows[:count], {"active": len(rows), "group": wanted or None}


def _traced(viewer: Viewer, body: Mapping[str, Any], name: str, slot: str) -> Packed:
    """Trace a typed prompt and return its graph, as that of a stored one."""
    text, target = body.get("text"), body.get("target")
    if not isinstance(text, str) or not isinstance(target, str | None):
        raise RefusedError("a trace needs a text, and as target a token's text or nothing.")
    arguments = {"text": text, "target": target, "chat": bool(body.get("chat"))}
    output = viewer.model.ask("trace", arguments, name, slot)["output"]
    try:
        state = State.open(output)
        with state.lent() as results:
            question = Question({"edges": ["200000"]}, {"key": "typed"})
            found = graph(Asked(viewer, state, results, question))
    finally:
        shutil.rmtree(output, ignore_errors=True)
    return Packed({**found.header, "typed": True}, found.arrays)


def model_state(viewer: Viewer) -> dict[str, Any]:
    """Say how the model's process is."""
    return {"state": "refused"} if viewer.model is None else viewer.model.state()
