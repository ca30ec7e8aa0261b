"""POST `/api/live/{run,dose,effects,trace}`: what the page asks of the live model, and how it is answered."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pipeline.viewer.answers import find_prompt, graph
from pipeline.viewer.asked import Asked, Viewer
from pipeline.viewer.live import python_of
from pipeline.viewer.packed import Packed
from pipeline.viewer.questions import Question, RefusedError
from pipeline.viewer.states import State

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Strengths of a dose curve."""

CELLS = """
select layer, position, feature from nodes where kind = 'feature' and prompt_key = {key} order by all
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
    with state.lent() as results:  # given back before the model is waited for
        asked = Asked(viewer, state, results, question)
        prompt = find_prompt(asked, str(body.get("key", "")))
        arguments = _arguments(asked, kind, prompt)
    found = viewer.model.ask(kind, arguments, name, f"{page} {kind} {prompt['prompt_key']}")
    if kind == "run":
        tokens = [row["token_id"] for row in found["tokens"]]
        parts = (arguments["token_ids"], arguments["changes"], arguments["mode"])
        found["printed"] = python_of(viewer.url, *parts, tokens)
        found["stored"] = {"token_id": prompt["prediction_id"], "before": prompt["prediction_probability"]}
    return found


def _arguments(asked: Asked, kind: str, prompt: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of an action, from what the page sent and what the tables hold."""
    body = asked.question.body
    mode = body.get("mode") or "direct"
    given: dict[str, Any] = {"token_ids": prompt["token_ids"], "mode": str(mode)}
    cells = [list(row.values()) for row in asked.rows(CELLS.format(key=prompt["prompt_key"]))]
    targets = [t["token_ids"][0] for t in prompt["targets"] if t["kind"] == "token"]
    if kind == "effects":
        return given | {"cells": cells, "target": targets[0] if targets else prompt["prediction_id"]}
    changes = body.get("changes", [body["change"]] if "change" in body else [])
    if not isinstance(changes, list) or not all(isinstance(change, dict) for change in changes):
        raise RefusedError("changes must be a list of {node, kind, value}.")
    given |= {"changes": changes, "watched": targets}
    if kind == "run":
        return given | {"cells": cells}
    strengths = body.get("strengths", list(STRENGTHS))
    if not isinstance(strengths, list) or not all(isinstance(s, int | float) for s in strengths):
        raise RefusedError("strengths must be a list of numbers.")
    return given | {"strengths": strengths}


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
