"""Jobs as they are named, found and read; `tests/jobs/test_submit.py` sends them to a real head."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from pipeline.errors import ConfigurationError
from pipeline.submission import client as submission
from pipeline.submission.address import head_address, named_by_argument, say_auth_mode
from pipeline.submission.client import Job, JobClient, Log, name_of, submission_id


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gemma", "gemma-20261121-0200"),
        ("Gemma 2/2b", "Gemma-2-2b-20261121-0200"),
        ("…", "sweep-20261121-0200"),
    ],
)
def test_ids_hold_the_name_and_the_minute(name: str, expected: str) -> None:
    assert submission_id(name, datetime(2026, 11, 21, 2, 0, 59, tzinfo=UTC)) == expected


def test_jobs_are_named_after_the_output() -> None:
    assert name_of("s3://bucket/sweeps/gemma/") == name_of("gemma") == "gemma"


def test_a_log_that_is_read_again_is_handed_on_once() -> None:
    heard: list[str] = []
    log = Log(heard.append)
    for part in ("one\n", "two\n"):
        log.add(part)
    log.rewind()  # the connection broke; the head begins at the beginning, in other pieces
    for part in ("one", "\ntwo\nth", "ree\n"):
        log.add(part)
    assert "".join(heard) == "one\ntwo\nthree\n"
    assert "" not in heard


@pytest.mark.parametrize(
    ("status", "code", "result"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 1, 1),
        ("FAILED", 2, 2),
        ("FAILED", None, 2),
        ("FAILED", -9, 137),
        ("STOPPED", None, 130),
        ("STOPPED", 0, 130),
    ],
)
def test_who_waited_ends_as_the_job_did(status: str, code: int | None, result: int) -> None:
    assert Job("id", status, "out", code, "").result == result


def test_the_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://environment:8265")
    assert head_address(None) == "http://environment:8265"
    assert head_address("https://option/") == "https://option"
    with named_by_argument(), pytest.raises(ConfigurationError, match="no cluster is named"):
        head_address(None)
    assert head_address(None) == "http://environment:8265"


@pytest.mark.parametrize("address", ["head:8265", "ray://head:10001", "auto", "http://"])
def test_an_address_that_takes_no_jobs(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"not of the form http://HEAD:8265"):
        head_address(address)


@pytest.mark.parametrize("mode", ["disabled", "token"])
def test_the_mode_of_authentication_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that what is set here ends with the test
        monkeypatch.delenv(name)
    if mode == "token":
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray/auth_token").write_text("token")
    say_auth_mode("http://head:8265")
    assert os.environ["RAY_AUTH_MODE"] == mode


def test_a_mode_without_its_token_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        ConfigurationError, match=r"without a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN"
    ):
        say_auth_mode("http://head:8265")


class FickleHead:
    """Speaks as a Ray head does, to whoever reads a log; each reading of it ends in another way."""

    def __init__(self, readings: list[Callable[[web.WebSocketResponse, web.Request], object]]) -> None:
        self.readings = iter(readings)
        self.left = len(readings)

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"version": "4", "ray_version": "2.60.0", "ray_commit": "", "session_name": ""}
        )

    async def job(self, request: web.Request) -> web.Response:
        status = "RUNNING" if self.left else "SUCCEEDED"
        return web.json_response(
            {"type": "SUBMISSION", "submission_id": "id", "status": status, "entrypoint": "", "metadata": {}}
            | ({} if self.left else {"driver_exit_code": 0})
        )

    async def tail(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.left -= 1
        await next(self.readings)(socket, request)
        return socket


async def silent(socket: web.WebSocketResponse, request: web.Request) -> None:
    await socket.send_str("one\n")
    await socket.receive()  # until the reader gives up


async def broken(socket: web.WebSocketResponse, request: web.Request) -> None:
    await socket.send_str("one\ntwo\n")
    await asyncio.sleep(0.1)
    request.transport.abort()


async def whole(socket: web.WebSocketResponse, request: web.Request) -> None:
    await socket.send_str("one\ntwo\nthree\n")
    await socket.close()


@contextmanager
def served(head: FickleHead) -> Iterator[str]:
    """The head's URL, for as long as this lasts."""

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/api/version", head.version)
        app.router.add_get("/api/jobs/id", head.job)
        app.router.add_get("/api/jobs/id/logs/tail", head.tail)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_log_is_followed_over_silence_and_broken_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(submission, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(submission, "RECONNECT_SECONDS", 0.05)
    heard: list[str] = []
    with served(FickleHead([silent, broken, whole])) as url:
        job = JobClient(url).follow("id", heard.append)
    assert "".join(heard) == "one\ntwo\nthree\n"
    assert (job.status, job.result) == ("SUCCEEDED", 0)


def test_a_head_that_is_gone_for_good_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(submission, "RECONNECT_SECONDS", 0.01)
    with served(FickleHead([])) as url:
        client = JobClient(url)
    with pytest.raises(
        ConfigurationError, match=r"lost contact .* job id .*the same command again follows it"
    ):
        client.follow("id", print)
