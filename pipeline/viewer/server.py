"""The server behind the page: routes and threads. The event loop only passes bytes on; threads ask the
tables.

Each request takes one of a few threads, with connections of its own. A client that leaves has its query
ended; an unexpected error is answered, logged, and ends nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from aiohttp import web

from pipeline.errors import CircuitSweepError, QueryError
from pipeline.viewer.answers import ANSWERS, add_note, notes, sql
from pipeline.viewer.asked import Asked, Viewer
from pipeline.viewer.guard import Guard, allowed_hosts
from pipeline.viewer.live import WAITING
from pipeline.viewer.live_answers import KINDS, live, model_state
from pipeline.viewer.packed import Packed, json_bytes
from pipeline.viewer.page_files import PageFile, inline_hashes, read_page_files
from pipeline.viewer.questions import Question, RefusedError
from pipeline.viewer.replies import (
    Job,
    check_not_ended,
    encoded,
    ended,
    error_of,
    question_of,
    read_body,
    response_of,
)
from pipeline.viewer.states import ASKED_AT_ONCE, State

logger = logging.getLogger(__name__)

BODY_BYTES = 1 << 20
"""Largest body of a request."""

QUERY_SECONDS, ANSWER_SECONDS = 10, 60
"""Longest that a query of the SQL page runs, and any other answer, whose filters may be SQL too."""

Answer = Callable[[Asked], "dict[str, Any] | Packed"]


class Server:
    """One viewer on one address."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self.host, self.port = viewer.options.host, viewer.options.port
        self.files = read_page_files()
        self.waiting = ThreadPoolExecutor(WAITING + 2, "live")
        self.queries: dict[str, Job] = {}
        """Queries of the SQL page that run now, by the names that the page gave them."""
        self.threads = ThreadPoolExecutor(ASKED_AT_ONCE, "answer")
        self.runner: web.AppRunner | None = None
        self.guard: Guard | None = None

    async def start(self) -> str:
        """Listen, and return the address to open.

        Raises:
            OSError: the address is taken, or not this machine's.

        """
        app = web.Application(client_max_size=BODY_BYTES, middlewares=[self._checked])
        self._add_routes(app)
        app.on_response_prepare.append(self._add_headers)
        self.runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, self.host, self.port).start()
        self.port = self.runner.addresses[0][1]
        hosts = allowed_hosts(self.host, self.port)
        self.guard = Guard(hosts, self.port, inline_hashes(self.files), self.viewer.options.embed_from)
        return self._address(self.guard.token)

    def address_for_browser(self) -> str:
        """Return the address for a browser that is started with it, which serves once."""
        return self._address(self.guard.once[-1])

    def _address(self, token: str) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{self.port}/?token={token}"

    async def stop(self) -> None:
        """Stop listening and end what is under way."""
        if self.runner is not None:
            await self.runner.cleanup()
        self.viewer.close()
        for threads in (self.threads, self.waiting):
            threads.shutdown(wait=False, cancel_futures=True)

    def _add_routes(self, app: web.Application) -> None:
        app.router.add_get("/", partial(self._page_file, name="index.html"))
        app.router.add_get("/page/{name:.+}", self._page_file)
        for path, answer in ANSWERS.items():
            app.router.add_get(path, partial(self._answer, answer))
        app.router.add_post("/api/sql", self._sql)
        app.router.add_delete("/api/sql/{id}", self._end_query)
        app.router.add_get("/api/live", self._model_state)
        app.router.add_post("/api/live/{kind:" + "|".join(KINDS) + "}", self._live)
        app.router.add_delete("/api/live/{id}", self._end_live)
        app.router.add_get("/api/notes", self._notes)
        app.router.add_post("/api/notes", self._add_note)
        app.router.add_get("/api/news", self._news)
        app.router.add_post("/api/refresh", self._refresh)

    @web.middleware
    async def _checked(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Turn everything that goes wrong into an answer that says what, and how to go on."""
        try:
            return await self.guard.middleware(request, handler)
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                raise
            plain = error.text == f"{error.status}: {error.reason}"  # aiohttp's own words
            reason = f"{request.method} {request.path[:200]}: {error.reason}." if plain else error.text
            return error_of(error.status, reason or error.reason)
        except RefusedError as error:
            return error_of(error.status, str(error), error.way_out, error.details)
        except CircuitSweepError as error:
            return error_of(HTTPStatus.BAD_REQUEST, str(error))
        except Exception as error:
            logger.exception("an answer failed: %s %s", request.method, request.path)
            reason = f"a bug in circuit-sweep: {type(error).__name__}: {error}"
            return error_of(
                HTTPStatus.INTERNAL_SERVER_ERROR, reason, "The server goes on; its terminal has more."
            )

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self.guard.headers())
        response.headers.setdefault("Cache-Control", "no-cache")
        response.headers.popall("Server", None)

    async def _page_file(self, request: web.Request, name: str | None = None) -> web.Response:
        file: PageFile | None = self.files.get(name or request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound(text=f"the page has no file {request.match_info['name'][:100]!r}.")
        if request.headers.get("If-None-Match") == f'"{file.etag}"':
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": f'"{file.etag}"'})
        return web.Response(
            body=file.data,
            content_type=file.content_type,
            charset="utf-8",
            headers={"ETag": f'"{file.etag}"'},
        )

    async def _answer(self, answer: Answer, request: web.Request) -> web.Response:
        question = question_of(request)
        etag = self._etag(request)
        if etag and request.headers.get("If-None-Match") == etag:
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag})
        response = response_of(*await self._in_time(self._work(answer, question), Job(), ANSWER_SECONDS))
        if etag:
            response.headers["ETag"] = etag
        return response

    def _etag(self, request: web.Request) -> str | None:
        """Name of an answer, by its state and its question; None for those that hold more than the state."""
        if request.path in ("/api/features", "/api/sweep"):  # notes; versions
            return None
        state = request.query.get("state") or request.query.get("at") or self.viewer.states.current.name
        # This server's own: the next one may compare with another sweep.
        named = f"{self.guard.session} {state} {request.path_qs}"
        return f'"{sha256(named.encode()).hexdigest()[:16]}"'

    def _work(self, answer: Answer, question: Question) -> Callable[[Job], tuple[bytes, bool]]:
        """Return what a thread does for one answer."""

        def work(job: Job) -> tuple[bytes, bool]:
            state = self._state(question)
            with state.lent() as results:
                job.results = results
                try:
                    check_not_ended(job)
                    found = answer(Asked(self.viewer, state, results, question))
                except (KeyboardInterrupt, QueryError) as error:
                    if isinstance(error, QueryError) and not job.ended.is_set():
                        raise
                    raise ended() from error
                finally:
                    job.results = None
            return encoded(found)

        return work

    def _state(self, question: Question) -> State:
        """Return the state that a question is about: of this sweep, or (`of=other`) of the one beside it."""
        if question.choice("of", "", ("", "here", "other")) != "other":
            return self.viewer.states.find(question.text("state"), question.text("at"))
        if self.viewer.other is None:
            raise RefusedError(
                "there is no other sweep here.", "Start `circuit-sweep view` with --diff OTHER."
            )
        self.viewer.check_comparable()
        return self.viewer.other.current

    async def _in_thread(self, work: Callable[[Job], Any], job: Job | None = None) -> Any:
        """Do work in a thread; where the client leaves, end it."""
        job = job or Job()
        future = asyncio.get_running_loop().run_in_executor(self.threads, work, job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():  # again: a query that is being planned forgets that it was told
                job.end()
                await asyncio.wait([future], timeout=0.1)
            future.exception()
            raise

    async def _in_time(self, work: Callable[[Job], Any], job: Job, seconds: float) -> Any:
        """Do work in a thread, or end it after so many seconds.

        Raises:
            RefusedError: it took longer.

        """
        try:
            async with asyncio.timeout(seconds):
                return await self._in_thread(work, job)
        except TimeoutError as error:
            raise RefusedError(
                f"the query took longer than {seconds} seconds.",
                "Ask less of it, or ask it with `circuit-sweep query`.",
                HTTPStatus.REQUEST_TIMEOUT,
            ) from error

    async def _sql(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        name = str(body.get("id", id(request)))
        if name in self.queries:
            raise RefusedError(f"a query named {name[:40]!r} runs already: give each its own.")
        question = Question({n: [str(body[n])] for n in ("state", "at") if body.get(n)}, body=body)
        job = self.queries[name] = Job()
        try:
            return response_of(*await self._in_time(self._work(sql, question), job, QUERY_SECONDS))
        finally:
            del self.queries[name]

    async def _end_query(self, request: web.Request) -> web.Response:
        if (job := self.queries.get(request.match_info["id"])) is not None:
            job.end()
        return response_of(json_bytes({"ended": job is not None}), False)

    async def _model_state(self, request: web.Request) -> web.Response:
        return response_of(json_bytes(model_state(self.viewer)), False)

    async def _live(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        question = Question({n: [str(body[n])] for n in ("state", "at") if body.get(n)}, body=body)
        kind = request.match_info["kind"]

        def work() -> tuple[bytes, bool]:
            return encoded(live(self.viewer, self._state(question), question, kind))

        # Threads of its own: questions that wait for the model keep nobody else waiting.
        return response_of(*await asyncio.get_running_loop().run_in_executor(self.waiting, work))

    async def _end_live(self, request: web.Request) -> web.Response:
        model = self.viewer.model
        ended = model is not None and model.end(request.match_info["id"])
        return response_of(json_bytes({"ended": ended}), False)

    async def _notes(self, request: web.Request) -> web.Response:
        return response_of(await self._in_thread(lambda _: json_bytes(notes(self.viewer))), False)

    async def _add_note(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        return response_of(await self._in_thread(lambda _: json_bytes(add_note(self.viewer, body))), False)

    async def _news(self, request: web.Request) -> web.Response:
        new = await self._in_thread(lambda _: self.viewer.states.new_graphs())
        return response_of(json_bytes({"new_graphs": new, "state": self.viewer.states.current.name}), False)

    async def _refresh(self, request: web.Request) -> web.Response:
        await read_body(request)
        state = await self._in_thread(lambda _: self.viewer.states.refresh())
        return response_of(json_bytes({"state": state.name, "graphs": state.graphs}), False)
