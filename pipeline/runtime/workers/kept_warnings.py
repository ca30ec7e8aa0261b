"""Warnings of libraries, kept in a worker until the driver fetches them, each text once.

Hooks into the making of log records rather than into handlers: libraries such as transformers keep their
records from the root logger, and a handler there would never see them.
"""

from __future__ import annotations

import logging
import threading
import warnings
from typing import Any, TextIO

MAX_TEXTS = 100
"""Different texts that one worker passes on."""

MAX_CHARACTERS = 500
"""Length at which a text is cut."""


class KeptWarnings:
    """Warnings of this process since they were last taken."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._new: list[str] = []
        self._lock = threading.Lock()

    def listen(self) -> None:
        """Keep every log record of level WARNING or above, and every warning of the `warnings` module."""
        make = logging.getLogRecordFactory()

        def make_and_keep(*arguments: Any, **options: Any) -> logging.LogRecord:
            record = make(*arguments, **options)
            if record.levelno >= logging.WARNING:
                self._keep(record)
            return record

        logging.setLogRecordFactory(make_and_keep)
        warnings.showwarning = _log_warning

    def take(self) -> tuple[str, ...]:
        """Return what is new."""
        with self._lock:
            taken, self._new = tuple(self._new), []
        return taken

    def _keep(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # a library's mistake in a log call must not end our work
            message = str(record.msg)
        text = f"{record.name}: {' '.join(message.split())}"[:MAX_CHARACTERS]
        with self._lock:
            if text not in self._seen and len(self._seen) < MAX_TEXTS:
                self._seen.add(text)
                self._new.append(text)


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    logging.getLogger(filename_as_name(filename)).warning("%s: %s", category.__name__, message)


def filename_as_name(filename: str) -> str:
    """Return the dotted end of a file's path: whose warning it is, not where that is installed."""
    parts = filename.removesuffix(".py").replace("\\", "/").split("/")
    if "site-packages" in parts:
        parts = parts[parts.index("site-packages") + 1 :]
    return ".".join(parts[-3:]).strip(".") or "py.warnings"
