"""The parent's side: a queue in front of the model's process, with deadlines, and a death that is told.

One question is at work; up to eight wait, in order. A question with the slot of one that waits takes its
place (a slider's older value is answered as superseded). Whoever takes longer than the deadline has its
process ended.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from pipeline.viewer.live.child import serve
from pipeline.viewer.live.loaded import Loaded
from pipeline.viewer.questions import RefusedError

BAD, DOWN = HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE
NOT_ASKED = HTTPStatus.CONFLICT
"""Status of questions that somebody ended or asked anew."""

WAITING = 8
"""Most questions that wait."""

LOADING_SECONDS = 600
ANSWER_SECONDS = 30
"""Longest that a question is worked on."""

IDLE_SECONDS = 15 * 60
"""Time without a question after which the model is unloaded."""

LOOK_SECONDS = 0.2
"""Time between looks at a process that works."""


@dataclass
class Ticket:
    """A question that waits or is worked on."""

    name: str
    slot: str
    refusal: RefusedError | None = None
    """Why it will not be answered."""


@dataclass
class LiveModel:
    """The model's process and the queue in front of it. Threads ask; one at a time is served."""

    loaded: Loaded
    answer_seconds: float = ANSWER_SECONDS
    idle_seconds: float = IDLE_SECONDS

    _line: list[Ticket] = field(default_factory=list)
    """Those who wait, and in front the one that is served."""

    _turn: threading.Condition = field(default_factory=threading.Condition)
    _process: BaseProcess | None = None
    _pipe: Connection | None = None
    _said: dict[str, Any] = field(default_factory=dict)
    """What the process said of itself when it had loaded."""

    _died: str = ""
    _timer: threading.Timer | None = None

    def ask(self, kind: str, body: dict[str, Any], name: str, slot: str) -> Any:
        """Put a question and wait for its answer.

        Args:
            kind: name of a function of `actions`.
            body: its arguments.
            name: of the question, to end it by.
            slot: questions with the same one supersede each other while they wait.

        Raises:
            RefusedError: no answer came, and why.

        """
        ticket = self._stand_in_line(name, slot)
        try:
            return self._served(ticket, kind, body)
        finally:
            with self._turn:
                self._line.remove(ticket)
                self._turn.notify_all()
            self._unload_later()

    def _stand_in_line(self, name: str, slot: str) -> Ticket:
        ticket = Ticket(name, slot)
        with self._turn:
            if self._timer is not None:
                self._timer.cancel()
            for other in self._line[1:]:
                if other.slot == slot:
                    other.refusal = RefusedError("superseded by a newer question.", status=NOT_ASKED)
            if len(self._line) > WAITING:
                raise RefusedError(
                    f"{WAITING} questions wait for the model already.",
                    "Ask again in a moment.",
                    HTTPStatus.SERVICE_UNAVAILABLE,
                )
            self._line.append(ticket)
            self._turn.notify_all()
            while self._line[0] is not ticket and ticket.refusal is None:
                self._turn.wait()
            if ticket.refusal is not None:
                self._line.remove(ticket)
                raise ticket.refusal
        return ticket

    def _served(self, ticket: Ticket, kind: str, body: dict[str, Any]) -> Any:
        if self._process is None or not self._process.is_alive():
            self._start()
            self._said = self._answer(ticket, LOADING_SECONDS, "loading the model")
        try:
            self._pipe.send((kind, body))
        except (OSError, ValueError) as error:
            raise self._death() from error
        return self._answer(ticket, self.answer_seconds, kind)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self.loaded), daemon=True)
        self._process.start()
        theirs.close()
        self._died = ""

    def _answer(self, ticket: Ticket, seconds: float, doing: str) -> Any:
        """Wait for the process's next message."""
        until = time.monotonic() + seconds
        while not self._pipe.poll(LOOK_SECONDS):
            if ticket.refusal is not None:
                self._end(str(ticket.refusal))
                raise ticket.refusal
            if not self._process.is_alive() and not self._pipe.poll(0):
                raise self._death()
            if time.monotonic() > until:
                reason = f"{doing} took longer than {seconds:g} seconds, so the model's process was ended."
                self._end(reason)
                raise RefusedError(reason, "Ask less at once; the next question loads it again.", DOWN)
        try:
            is_answer, found = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        if is_answer:
            return found
        if found.pop("is_fatal", False):
            self._end(found["message"])
        raise RefusedError(found.pop("message"), found.pop("way_out", ""), DOWN if found else BAD)

    def _death(self) -> RefusedError:
        self._process.join(5)
        code = self._process.exitcode
        how = (
            f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
        )
        self._end(f"the model's process died, {how}.")
        return RefusedError(self._died, "The next question starts another.", DOWN)

    def _end(self, reason: str) -> None:
        process, self._process, self._died = self._process, None, reason
        if process is not None:
            process.kill()
            process.join(5)
            self._pipe.close()

    def end(self, name: str) -> bool:
        """End a question: one that waits is refused; one at work takes its process along."""
        with self._turn:
            found = [ticket for ticket in self._line if ticket.name == name]
            for ticket in found:
                ticket.refusal = RefusedError("ended before it was answered.", status=NOT_ASKED)
            self._turn.notify_all()
        return bool(found)

    def state(self) -> dict[str, Any]:
        """Say how the model is: off, loading, ready, busy, or why it died."""
        process, line = self._process, len(self._line)
        state = "off" if process is None else "loading" if not self._said else "busy" if line else "ready"
        return {"state": state, "waiting": max(0, line - 1), "died": self._died, **self._said}

    def _unload_later(self) -> None:
        with self._turn:
            if self._line or self._process is None:
                return
            self._timer = threading.Timer(self.idle_seconds, self._unload)
            self._timer.daemon = True
            self._timer.start()

    def _unload(self) -> None:
        with self._turn:
            if not self._line:
                self._end("")
                self._said = {}

    def close(self) -> None:
        """End the process."""
        with self._turn:
            for ticket in self._line:
                ticket.refusal = RefusedError("the server ends.", status=HTTPStatus.SERVICE_UNAVAILABLE)
            self._turn.notify_all()
        if self._timer is not None:
            self._timer.cancel()
        self._end("")
