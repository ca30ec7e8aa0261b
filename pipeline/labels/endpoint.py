"""A chat model behind any server that speaks OpenAI's protocol, asked politely and nobody else with it.

Requests go to the address that the user named and nowhere else: a redirection is an error. Answers that ask
for patience (429, 5xx, a connection that breaks) are waited for as long as they say, or twice as long each
time.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pipeline.credentials import without_credentials
from pipeline.errors import CircuitSweepError, ConfigurationError
from pipeline.untrusted import cut, parse_json

log = logging.getLogger(__name__)

TRIES = 5
"""Times that one request is sent at most."""

LONGEST_WAIT = 60.0
"""Seconds between two tries at most."""

ANSWER_BYTES = 1 << 20
"""Largest answer that is read."""

BUSY = {408, 409, 425, 429, 500, 502, 503, 504, 529}
"""Status codes after which the same request may succeed."""

LOCAL = {"localhost", "127.0.0.1", "::1"}


class EndpointError(CircuitSweepError):
    """The server does not answer, or not as its protocol has it."""


class _Stay(HTTPRedirectHandler):
    """Follow no redirection: text and key go to the server that was named."""

    def redirect_request(self, *arguments: Any, **given: Any) -> None:
        return None


@dataclass(frozen=True)
class Endpoint:
    """A model at a server."""

    url: str
    """Address up to the version, such as `http://localhost:8000/v1`."""

    model: str
    """Name of the model there."""

    key_variable: str | None = None
    """Environment variable with the key; None sends none."""

    timeout: float = 120.0
    """Seconds to wait for an answer."""

    max_tokens: int = 400
    """Tokens that an answer may have."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                f"--endpoint {self.url!r} is no address: give one such as http://localhost:8000/v1."
            )
        without_credentials("--endpoint", self.url)
        if self.key_variable is None:
            return
        if not os.environ.get(self.key_variable):
            raise ConfigurationError(f"--key-variable {self.key_variable}: the environment has no such key.")
        if parts.scheme == "http" and parts.hostname not in LOCAL:
            raise ConfigurationError(
                f"--endpoint {self.url}: the key would travel unencrypted; use https, or leave out "
                "--key-variable."
            )

    @property
    def source(self) -> str:
        """Origin that is noted with its labels."""
        return f"{self.model} at {urlsplit(self.url).netloc}"

    def ask(self, system: str, question: str) -> str:
        """Return the answer to a question.

        Raises:
            EndpointError: the server refuses, redirects, stays busy, or answers in another protocol.

        """
        body = {
            "model": self.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }
        for attempt in range(TRIES):
            try:
                return self._content(self._post(json.dumps(body).encode()))
            except HTTPError as error:
                if error.code not in BUSY or attempt == TRIES - 1:
                    raise EndpointError(self._refusal(error)) from error
                wait = _wait(error.headers.get("Retry-After"), attempt)
            except (URLError, OSError, HTTPException) as error:
                if attempt == TRIES - 1:
                    reason = getattr(error, "reason", error)
                    raise EndpointError(f"{self.url} does not answer: {reason}.") from error
                wait = _wait(None, attempt)
            log.info("%s is busy; asked again in %.0f s", self.url, wait)
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key_variable is not None:
            headers["Authorization"] = f"Bearer {os.environ[self.key_variable]}"
        request = Request(f"{self.url.rstrip('/')}/chat/completions", body, headers, method="POST")
        with build_opener(_Stay).open(request, timeout=self.timeout) as answer:
            return answer.read(ANSWER_BYTES)

    def _content(self, data: bytes) -> str:
        try:
            content = parse_json(data)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError) as error:
            raise EndpointError(
                f"{self.url} answers in another protocol than OpenAI's chat completions: {cut(data)}."
            ) from error
        return content if isinstance(content, str) else ""

    def _refusal(self, error: HTTPError) -> str:
        if 300 <= error.code < 400:
            return (
                f"{self.url} points elsewhere ({error.code}), where nothing is sent: name the address itself."
            )
        said = cut(error.read(2000).decode(errors="replace"), 300)
        return f"{self.url} refuses ({error.code}): {said}."


def _wait(asked: str | None, attempt: int) -> float:
    """Return the seconds until the next try: as many as the server asks for, within bounds."""
    try:
        return min(max(float(asked or ""), 0.0), LONGEST_WAIT)
    except ValueError:  # it says a date, or nothing
        return min(2.0**attempt, LONGEST_WAIT)
