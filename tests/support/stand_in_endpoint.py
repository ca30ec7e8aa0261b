"""A server that speaks OpenAI's chat completions and knows one thing: the last characters of tokens.

Asked for a label, it names the character that most of the shown tokens end in; asked which texts fit, it says
those whose token ends so.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = re.compile(r"<<(.*?)>>")


@dataclass
class StandIn:
    """What the server was asked, and what it shall do other than answer."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    first: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Statuses and headers that the next requests get instead of an answer."""

    refuse_after: int | None = None
    """Requests after which all are refused."""

    raw: bytes | None = None
    """Body of every answer."""

    def reply(self, body: dict[str, Any]) -> str:
        question = body["messages"][-1]["content"]
        tokens = TOKEN.findall(question)
        if not question.startswith("Description: "):
            (ending, _), *_ = Counter(token[-1] for token in tokens).most_common(1)
            return f"Let me think.\n**tokens that end in {ending}**"
        ending = question.splitlines()[0][-1]
        fits = [number for number, token in enumerate(tokens, 1) if token.endswith(ending)]
        return f"Sure: {json.dumps({'active': fits})}"


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Serve on a free port of this machine."""
    state = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append(body)
            state.keys.append(self.headers["Authorization"])
            status, headers = state.first.pop(0) if state.first else (200, {})
            if state.refuse_after is not None and len(state.asked) > state.refuse_after:
                status = 401
            message = {"choices": [{"message": {"role": "assistant", "content": state.reply(body)}}]}
            data = state.raw or json.dumps(message).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
