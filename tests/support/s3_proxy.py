"""A proxy that does to an S3 server's clients what the world does: by seed and rate, or to chosen requests.

It stands in front of any server (the Host header is passed on, which signatures cover). It is told what to
do by a PUT to `/-/faults` and says what it did at the same place, so that it can run in a process of its own.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

CONTROL = "/-/faults"

KINDS = ("internal", "slow_down", "reset", "hang", "lost", "cut")
"""500; 503 SlowDown; connection reset before the request arrives; no answer for longer than clients wait;
the request is done and its answer lost; the answer breaks off in the middle."""

REFUSALS = {"internal": (500, "InternalError"), "slow_down": (503, "SlowDown")}

HANG_SECONDS = 3.0


class Plan:
    """Which request suffers what."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.follow({})

    def follow(self, orders: dict[str, Any]) -> None:
        """Take new orders: `rate` and `seed` of random faults of `kinds`, `chosen` requests."""
        with self.lock:
            self.random = random.Random(orders.get("seed", 0))
            self.rate: float = orders.get("rate", 0.0)
            self.kinds: list[str] = orders.get("kinds", list(KINDS))
            self.chosen: list[list[Any]] = orders.get("chosen", [])
            self.done: Counter[str] = Counter()

    def fault(self, request: str) -> str | None:
        """What happens to this request, named by method and path; None for nothing."""
        with self.lock:
            kind = self._chosen(request)
            if kind is None and self.random.random() < self.rate:
                kind = self.random.choice(self.kinds)
            self.done[kind or "none"] += 1
            return kind

    def _chosen(self, request: str) -> str | None:
        """The first order whose pattern fits; each holds for a number of requests."""
        for order in self.chosen:
            kind, pattern, times = order
            if times and re.search(pattern, request):
                order[2] -= 1
                return kind
        return None


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def handle_request(self) -> None:
        """Pass a request on, or not."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == CONTROL:
            self._control(body)
            return
        fault = self.server.plan.fault(f"{self.command} {self.path}")
        if fault in REFUSALS:
            status, code = REFUSALS[fault]
            xml = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
            self._answer(status, [("Content-Type", "application/xml")], xml.encode())
            return
        if fault == "hang":
            time.sleep(HANG_SECONDS)
        if fault in ("reset", "hang"):
            self._reset()
            return
        status, headers, answer = self._pass_on(body)
        if fault == "lost" or (fault == "cut" and len(answer) < 2):
            self._reset()
        else:
            self._answer(status, headers, answer, cut=fault == "cut")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request  # noqa: N815 - the server's names

    def _control(self, body: bytes) -> None:
        if self.command == "PUT":
            self.server.plan.follow(json.loads(body))
        self._answer(200, [], json.dumps(self.server.plan.done).encode())

    def _pass_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.behind, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("expect", "connection"):
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, answer.getheaders(), data

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        sizes = [value for name, value in headers if name.lower() == "content-length"]
        self.send_header("Content-Length", sizes[0] if sizes and self.command == "HEAD" else str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self._reset()

    def _reset(self) -> None:
        """Close as a machine does that lost its memory."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


class FaultyServer(ThreadingHTTPServer):
    """The proxy."""

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = urlsplit(behind).netloc
        self.plan = Plan()

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet: connections that this side breaks raise."""


def serve_proxy(behind: str, ready: Connection) -> None:
    """Serve until the process ends; sends the endpoint once it listens."""
    server = FaultyServer(behind)
    ready.send(f"http://127.0.0.1:{server.server_address[1]}")
    server.serve_forever()


@dataclass(frozen=True)
class Faults:
    """The proxy as a test sees it."""

    endpoint: str

    def follow(self, **orders: object) -> None:
        """Do what these orders say from now on; none: nothing."""
        urlopen(Request(self.endpoint + CONTROL, json.dumps(orders).encode(), method="PUT")).close()

    def done(self) -> dict[str, int]:
        """How many requests had which fault; `none` had none."""
        with urlopen(self.endpoint + CONTROL) as answer:
            return json.load(answer)
