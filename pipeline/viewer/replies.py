"""Requests read and replies written: bodies, errors, compression, and work that may be ended."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Event
from typing import Any

from aiohttp import web

from pipeline.results import Results
from pipeline.viewer.packed import Packed, json_bytes
from pipeline.viewer.questions import Question, RefusedError

COMPRESSED_FROM = 1 << 10
"""Bytes from which JSON is compressed."""


@dataclass
class Job:
    """Work of one request in a thread, which may be ended."""

    ended: Event = field(default_factory=Event)
    results: Results | None = None
    """Connections that it has now."""

    def end(self) -> None:
        """End its query; it answers with a refusal."""
        self.ended.set()
        if self.results is not None:
            self.results.interrupt()


def encoded(found: dict[str, Any] | Packed) -> tuple[bytes, bool]:
    """Return an answer's bytes, and say if they are packed."""
    return (found.encode(), True) if isinstance(found, Packed) else (json_bytes(found), False)


def question_of(request: web.Request) -> Question:
    """Return the question of a GET: its parameters, and what its path names."""
    names = dict.fromkeys(request.query)
    return Question({name: request.query.getall(name) for name in names}, dict(request.match_info))


async def read_body(request: web.Request) -> dict[str, Any]:
    """Read the JSON object of a POST.

    Raises:
        RefusedError: it is none.

    """
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"the body is no JSON: {error}.") from error
    if not isinstance(body, dict):
        raise RefusedError(f"the body is a JSON {type(body).__name__}, not an object.")
    return body


def check_not_ended(job: Job) -> None:
    """Stop work whose client has left already.

    Raises:
        RefusedError: it was ended.

    """
    if job.ended.is_set():
        raise ended()


def ended() -> RefusedError:
    """Return the refusal of work that was ended."""
    return RefusedError("ended before it was answered.", status=HTTPStatus.REQUEST_TIMEOUT)


def response_of(data: bytes, is_packed: bool) -> web.Response:
    """Return an answer's reply; JSON is compressed where that pays."""
    kind = "application/octet-stream" if is_packed else "application/json"
    response = web.Response(body=data, content_type=kind)
    if not is_packed and len(data) > COMPRESSED_FROM:
        response.enable_compression()
    return response


def error_of(
    status: int, message: str, way_out: str = "", details: dict[str, Any] | None = None
) -> web.Response:
    """Return the reply of an error."""
    error = {"message": message, "way_out": way_out, **(details or {})}
    return web.Response(body=json_bytes({"error": error}), status=status, content_type="application/json")
