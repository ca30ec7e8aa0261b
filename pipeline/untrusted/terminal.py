r"""Text of others where people read it: what would act on a terminal is shown as an escape instead.

A prompt that holds `ESC ] 0 ; ... BEL` sets the window's title, others clear the screen or change what a
link points to, and marks of writing direction turn the order of what follows around. So the control
characters of C0 and C1, and these marks, appear as `\x1b` or `\u202e` do in Python.
"""

from __future__ import annotations

import logging
import re
from typing import Any

_ACTS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 controls, marks of direction, separators of lines, and surrogates, which no terminal can take."""

_LINES = re.compile(f"(?![\t\n]){_ACTS.pattern}")


def printable(text: str, lines: bool = True) -> str:
    r"""Return text as it may be shown.

    Args:
        text: anybody's.
        lines: leave line ends and tabs as they are; without it, text takes one line.

    """
    return (_LINES if lines else _ACTS).sub(lambda found: repr(found[0])[1:-1], text)


def uncoloured(text: str) -> str:
    """Return the text of a library's message without the colours that it had for a terminal."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


class PrintableFormatter(logging.Formatter):
    """Log lines as they may be shown."""

    def format(self, record: logging.LogRecord) -> str:  # noqa: D102
        return printable(super().format(record))


def cut(value: Any, most: int = 80) -> str:
    """Return a value as Python writes it, cut to so many characters, for a message."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."
