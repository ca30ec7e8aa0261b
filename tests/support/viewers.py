"""A viewer's server for tests: answers without HTTP, and a whole server on a free port."""

from __future__ import annotations

import asyncio
import http.client
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from pipeline.viewer.answers import ANSWERS
from pipeline.viewer.asked import Asked, Viewer
from pipeline.viewer.options import ViewOptions
from pipeline.viewer.packed import Packed, json_bytes
from pipeline.viewer.questions import Question
from pipeline.viewer.server import Server
from pipeline.viewer.view import open_viewer

TYPES = {"u8": "u1", "u16": "<u2", "u32": "<u4", "i32": "<i4", "f32": "<f4", "f64": "<f8"}


@dataclass
class Answered:
    """An answer over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def arrays(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return unpack(self.body)


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a packed answer as a browser does."""
    (length,) = struct.unpack_from("<I", data)
    assert (4 + length) % 8 == 0
    header, start, arrays = json.loads(data[4 : 4 + length]), 4 + length, {}
    for described in header["arrays"]:
        values = np.frombuffer(data, TYPES[described["type"]], described["length"], start)
        arrays[described["name"]] = values
        start += -(-values.nbytes // 8) * 8
    assert start == len(data)
    return header, arrays


@dataclass
class Served:
    """A running server, and a client of it that has its cookie."""

    server: Server
    address: str
    """With the token."""

    cookies: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answered:
        """Send one request, with the cookie and, where something is posted, as the page does."""
        given = {"Host": self.host, "Cookie": self.cookies}
        if method != "GET":
            given |= {"Origin": f"http://{self.host}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.host, timeout=60)
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, data, {name: value for name, value in given.items() if value})
        response = connection.getresponse()
        answered = Answered(response.status, dict(response.getheaders()), response.read())
        connection.close()
        return answered

    def enter(self) -> Served:
        """Exchange the token for the cookie."""
        answered = self.ask(f"/?{urlsplit(self.address).query}")
        assert answered.status == 303
        self.cookies = answered.headers["Set-Cookie"].partition(";")[0]
        return self


@contextmanager
def served(url: str | Path, **options: Any) -> Iterator[Served]:
    """Run a server in a thread, and give a client that has entered."""
    loop = asyncio.new_event_loop()
    server = Server(open_viewer(str(url), ViewOptions(open_browser=False, **options)))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        address = asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
        yield Served(server, address).enter()
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class Answers:
    """Answers of one output, straight from the functions, as a page would read them."""

    def __init__(self, url: str | Path, **options: Any) -> None:
        self.viewer: Viewer = open_viewer(str(url), ViewOptions(**options))

    def __call__(self, endpoint: str, path: dict[str, str] | None = None, **parameters: Any) -> Any:
        """Return the JSON of an answer, or header and arrays; a parameter may be a list."""
        given = {n.replace("__", "."): v if isinstance(v, list) else [str(v)] for n, v in parameters.items()}
        state = self.viewer.states.find("", given.get("at", [""])[0])
        with state.lent() as results:
            found = ANSWERS[endpoint](Asked(self.viewer, state, results, Question(given, path or {})))
        return unpack(found.encode()) if isinstance(found, Packed) else json.loads(json_bytes(found))
