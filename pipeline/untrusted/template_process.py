"""The process in which chat templates are rendered: a line of JSON in, a line of JSON out.

It runs by its path and imports nothing of ours. A template is a program: its sandbox lets it touch nothing,
but not even a sandbox stops a loop, a power of large numbers or a string of gigabytes, and within one of
these no thread and no signal handler of Python's gets a turn. So the kernel ends the process: by a timer of
the time that it computes, whose signal nothing handles, and by a limit of its memory.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from contextlib import suppress

SECONDS = 5.0
"""Time that a rendering may compute; templates in use take less than a thousandth of this."""

MEMORY_BYTES = 1 << 30
"""Memory that it may take beyond what its libraries have."""

MOST_CHARACTERS = 16 << 20
"""Longest text: beyond what any model reads."""


def main() -> None:
    """Answer until nobody asks any more."""
    from transformers.utils.chat_template_utils import render_jinja_template

    _limit_memory()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        # Time of computing, not of the clock: on a busy machine an honest template has to wait.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            texts, _ = render_jinja_template(**json.loads(line))
            if len(texts[0]) > MOST_CHARACTERS:
                raise ValueError(f"it writes {len(texts[0]):,} characters")
            answer = {"text": texts[0]}
        except Exception as error:  # a template raises what it likes
            answer = {"error": type(error).__name__, "reason": str(error)[:2000]}
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(answer), flush=True)


def _limit_memory() -> None:
    # Not every system counts the memory that a process may use.
    with suppress(OSError, ValueError), open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES, now + MEMORY_BYTES))


if __name__ == "__main__":
    main()
