"""`/api/search`: prompts, features and tokens that a few typed letters name."""

from __future__ import annotations

import re
from typing import Any

from pipeline.token_labels import printable_token
from pipeline.viewer.asked import Asked

FOUND = 20
"""Hits of each kind."""

PART_OF_FEATURE = re.compile(r"(?P<layer>\d{1,4})/(?P<feature>\d{0,9})(@-?\d*)?", re.ASCII)


def search(asked: Asked) -> dict[str, Any]:
    """Return what the text names, 20 of each kind."""
    text = asked.question.text("q").strip()
    if not text:
        return {"prompts": [], "features": [], "tokens": []}
    return {
        "prompts": _prompts(asked, text),
        "features": _features(asked, text),
        "tokens": _tokens(asked, text),
    }


def _prompts(asked: Asked, text: str) -> list[dict[str, Any]]:
    rows = asked.rows(
        "select prompt_key, id, text from graphs where contains(lower(id), lower($text)) "
        "or contains(lower(text), lower($text)) "
        f"order by id <> $text, not starts_with(lower(id), lower($text)), id limit {FOUND}",
        {"text": text},
    )
    return [row | {"prompt_key": str(row["prompt_key"])} for row in rows]


def _features(asked: Asked, text: str) -> list[dict[str, Any]]:
    """Return features whose name begins so, by influence."""
    spelt = PART_OF_FEATURE.fullmatch(text)
    if spelt is None:
        return []
    layer, number = int(spelt["layer"]), spelt["feature"]
    here = f"and starts_with(feature::varchar, '{number}')" if number else ""
    return asked.rows(
        f"select layer, feature, prompts, influence from {asked.summary('kept_features')} "
        f"where layer = {layer} {here} "
        f"order by feature::varchar <> '{number}', influence desc, feature limit {FOUND}"
    )


def _tokens(asked: Asked, text: str) -> list[dict[str, Any]]:
    """Return tokens that hold the text, by the prompts that have them."""
    rows = asked.rows(
        f"select token, prompts from {asked.summary('token_prompts')} "
        "where contains(lower(token), lower($text)) "
        f"order by prompts desc, token limit {FOUND}",
        {"text": text},
    )
    return [{**row, "label": printable_token(row["token"])} for row in rows]
