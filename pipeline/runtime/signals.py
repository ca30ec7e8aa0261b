"""SIGTERM and Ctrl-C: once, to end in good order; twice, to end at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def first_signal_asks() -> Iterator[threading.Event]:
    """Yield an event that the first signal sets; a second one raises KeyboardInterrupt anywhere."""
    asked = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    with _handled_by(handle):
        yield asked


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Make SIGTERM, which job schedulers send, end the run as Ctrl-C does."""
    with _handled_by(signal.default_int_handler, (signal.SIGTERM,)):
        yield


@contextmanager
def signals_ignored() -> Iterator[None]:
    """Let no signal cut short what is soon done, such as leaving Ray."""
    with _handled_by(signal.SIG_IGN):
        yield


@contextmanager
def _handled_by(handler: signal._HANDLER, numbers: tuple[signal.Signals, ...] = SIGNALS) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
