"""Chat templates of strangers, rendered in a process of their own that the kernel ends (`template_process`).

Callers wait for an answer or for the process's end, so it is the same in a thread, in a worker and in the
driver. The process is started by the first template and serves this one until the end; one that was ended is
followed by another at the next call. It takes a second to start, and a tenth of a millisecond a rendering.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

_SCRIPT = Path(__file__).with_name("template_process.py")


class TemplateError(Exception):
    """A template that raised an error, or that was ended."""


class _Renderer:
    """The process, if there is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = os.getpid()

    def render(self, request: dict[str, Any]) -> str:
        """Return the text of one conversation."""
        question = json.dumps(request)
        with self._lock:
            if self._process is None or self._owner != os.getpid():  # a forked process has its parent's pipes
                self._process, self._owner = self._start(), os.getpid()
            process = self._process
            try:
                process.stdin.write(f"{question}\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except BaseException as error:  # Ctrl-C, say: the answer would be taken for the next one's
                self._end()
                if isinstance(error, OSError):
                    raise TemplateError("it was ended") from error
                raise
            if not line.endswith("\n"):
                self._end()
                raise TemplateError("it computes for too long or takes too much memory, and was ended")
        answer = json.loads(line)
        if "text" not in answer:
            raise TemplateError(f"{answer['error']}: {answer['reason'].strip().partition(chr(10))[0]}")
        return answer["text"]

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for the command, which ends this one with itself
        )
        if not process.stdout.readline():
            raise RuntimeError(f"{_SCRIPT} did not start: is transformers installed?")
        return process

    def _end(self) -> None:
        process, self._process = self._process, None
        process.kill()
        process.wait()
        with suppress(OSError):  # what was never sent
            process.stdin.close()
        process.stdout.close()


_renderer = _Renderer()


def render_template(template: str, messages: list[dict[str, Any]], **arguments: Any) -> str:
    """Render a conversation by a chat template.

    Args:
        template: in Jinja, with what transformers adds to it.
        messages: the conversation.
        arguments: whatever else the template reads.

    Raises:
        TemplateError: the template raises an error, computes for too long or takes too much memory.
        TypeError: a message or an argument holds what JSON cannot say.

    """
    return _renderer.render({"conversations": [messages], "chat_template": template, **arguments})
