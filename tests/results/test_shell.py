"""The prompt as a user has it: in a process of its own, on a terminal of its own."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.store.output import Output

ROOT = Path(__file__).parents[2]


OWN_TERMINAL = """\
import fcntl, termios
from jobs.cli import main
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)"""
"""Makes the terminal the one whose Ctrl-C reaches the process; between fork and exec it would not be safe."""


class Terminal:
    """A `circuit-sweep query` with a terminal that a test types on."""

    def __init__(self, output: str, home: Path) -> None:
        self.screen, child = pty.openpty()
        environment = {**os.environ, "XDG_STATE_HOME": str(home), "TERM": "dumb", "COLUMNS": "120"}
        command = [sys.executable, "-c", f"{OWN_TERMINAL}\nmain(['query', {output!r}])"]
        streams = {"stdin": child, "stdout": child, "stderr": child}
        self.process = subprocess.Popen(command, **streams, cwd=ROOT, env=environment, start_new_session=True)
        os.close(child)

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def until(self, pattern: str, seconds: float = 120) -> str:
        shown, end = "", time.monotonic() + seconds
        while not re.search(pattern, shown):
            assert time.monotonic() < end, f"{pattern!r} was not shown, but {shown!r}"
            if select.select([self.screen], [], [], 0.1)[0]:
                shown += os.read(self.screen, 65536).decode(errors="replace")
        return shown

    def interrupt_until(self, pattern: str) -> None:
        """Press Ctrl-C as people do who see nothing happen: the first may come before the query runs.

        At the prompt one may come just before Python waits for a key, and is then seen with the next only.
        """
        for _ in range(30):
            time.sleep(1.5)
            self.type("\x03")
            with suppress(AssertionError):
                self.until(pattern, 2)
                return
        raise AssertionError("Ctrl-C did not end the query")

    def ask_until(self, text: str, pattern: str) -> str:
        """Type until it is answered: a Ctrl-C that is seen late throws away what was typed after it."""
        for _ in range(5):
            self.type(text)
            with suppress(AssertionError):
                return self.until(pattern, 20)
        raise AssertionError(f"{text!r} was not answered")

    def leave(self, by: str = "\x04") -> int:
        for _ in range(3):
            self.type(by)
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(20)
        raise AssertionError(f"{by!r} did not end the prompt")


@pytest.fixture
def local(tmp_path: Path, make_night: Callable[[Output, range], None]) -> Output:
    output = Output(tmp_path / "out")
    make_night(output, range(3))
    return output


def test_queries_at_a_prompt(local: Output, tmp_path: Path) -> None:
    terminal = Terminal(local.url, tmp_path / "home")
    terminal.until("sweep> ")
    terminal.type("select count(*) as n\n")
    terminal.until(r"\.\.\. ")
    terminal.type("from edges;\n")
    assert "900" in terminal.until("900(.|\n)*sweep> ")
    terminal.type("selct 1;\n")
    assert "syntax error" in terminal.until("selct(.|\n)*LINE(.|\n)*sweep> ")
    terminal.type(".versions\n")
    terminal.until(r"0: 20\d\d-(.|\n)*sweep> ")
    terminal.type(".schema nodes\n")
    terminal.until(r"cumulative_influence: float(.|\n)*sweep> ")
    terminal.type(".tables\n")
    terminal.until(r"activations(.|\n)*failures(.|\n)*sweep> ")
    terminal.type("select replac\t")
    terminal.until("replacement_score")
    terminal.interrupt_until("sweep> ")
    assert terminal.leave("quit\n") == 0
    history = (tmp_path / "home" / "circuit-sweep" / "query_history").read_text()
    assert "from edges;" in history


def test_the_history_comes_back(local: Output, tmp_path: Path) -> None:
    for number, leave in enumerate(("\x04", "exit;\n")):
        terminal = Terminal(local.url, tmp_path / "home")
        terminal.until("sweep> ")
        terminal.type("select 6 * 7 as answer;\n" if number == 0 else "\x1b[A\n")
        terminal.until("42(.|\n)*sweep> ")
        assert terminal.leave(leave) == 0


def test_ctrl_c_ends_a_query_and_not_the_prompt(local: Output, tmp_path: Path) -> None:
    terminal = Terminal(local.url, tmp_path / "home")
    terminal.until("sweep> ")
    terminal.type("select sum(a.range * b.range) from range(10000000) a, range(1000000) b;\n")
    terminal.interrupt_until("sweep> ")
    terminal.ask_until("select 6 * 7 as answer;\n", "42(.|\n)*sweep> ")
    assert terminal.leave() == 0


def test_queries_from_a_pipe(local: Output, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobs.query", local.url],
        input="select count(*) as n\nfrom nodes;\nselect nope from nodes;\nselect 6 * 7\n",
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert "Referenced column" in done.stdout
    assert "42" in done.stdout
    assert "sweep>" not in done.stdout
