"""What strangers wrote appears on a terminal as text: nothing in it acts there."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from pipeline.runtime import RunReport
from pipeline.runtime.shards import Counts
from pipeline.runtime.telemetry import Progress
from pipeline.store.commits import write_report
from pipeline.store.commits.keys import shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import failure_tables, join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import FailedPrompt
from pipeline.untrusted import Console, printable
from tests.support.commands import Command
from tests.support.random_graphs import random_prompt

EVIL = "a\x1b]0;title\x07b\x1b[2Jc\x9b31md\u202eefil"

ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

ROOMS = [Path(__file__).parents[2] / room for room in ("jobs", "pipeline")]


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """A prompt with such an id and text, and one that failed with such a message."""
    output = Output(tmp_path / "out")
    output.claim({}, -7)
    prompt = replace(random_prompt(0), id=EVIL)
    failed = FailedPrompt(1, EVIL, -7, EVIL, "tokenize", "PromptError", EVIL)
    rows = join_tables(
        [graph_tables(prompt, output.extra_columns), failure_tables(failed, output.extra_columns)]
    )
    output.commit(shard_id([prompt.prompt_key, 1], -7), rows)
    return output


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "OUTPUT", "--prompt", EVIL],
        ["show", "OUTPUT", "--prompt", f"not {EVIL}"],
        ["query", "OUTPUT", "select id, message from failures"],
        ["query", f"OUTPUT{EVIL}", "select 1"],
        ["status", "OUTPUT"],
        ["verify", "OUTPUT"],
    ],
    ids=lambda words: words[0],
)
def test_commands_show_escapes(output: Output, here: Command, arguments: list[str]) -> None:
    now = datetime.now(UTC)
    report = RunReport("stopped", now, now, Counts(), -7, {}, {}, error=EVIL, notes=[EVIL])
    write_report(output.folder, report)
    done = here(*(word.replace("OUTPUT", output.url) for word in arguments))
    assert "Traceback" not in done.stderr
    assert not ACTS.search(done.stdout + done.stderr)
    if arguments[0] != "verify":
        assert "]0;title" in done.stdout + done.stderr


@pytest.mark.parametrize("is_terminal", [True, False])
def test_notes_and_bars_show_escapes(is_terminal: bool) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=is_terminal, color_system=None, width=200)
    with Progress(console) as progress:
        progress.note(EVIL)
        progress.show()
    table = Table(EVIL)
    table.add_row(EVIL, Text(EVIL))
    console.print(table)
    with Bar(console=console) as bar:
        bar.add_task(EVIL)
    text = re.sub(r"\x1b\[(\?25[lh]|[0-9]*[AKJ])|\r", "", written.getvalue())  # rich's own, of the bars
    assert not ACTS.search(text)
    assert text.count(r"\x1b]0;title") >= 4


@given(st.text())
def test_what_is_printable_stays_and_all_else_is_escaped(text: str) -> None:
    shown = printable(text)
    assert not ACTS.search(shown)
    shown.encode()
    assert "\n" not in printable(text, lines=False)
    if not ACTS.search(text) and not re.search("[\ud800-\udfff]", text):
        assert shown == text


def test_what_escapes_look_like() -> None:
    assert printable("a\x1b[31mb\x00\u2028c\nd é") == "a\\x1b[31mb\\x00\\u2028c\nd é"
    assert printable("a\nb", lines=False) == "a\\nb"


def test_no_command_has_a_console_of_another_kind() -> None:
    sources = (path for room in ROOMS for path in room.rglob("*.py") if path.parent.name != "untrusted")
    assert [path for path in sources if "from rich.console import" in path.read_text()] == []


@pytest.mark.parametrize("word", ["[/INST]", "[bold]", "[link=file:///etc/passwd]x[/link]", "data[/math]"])
def test_brackets_in_cells_of_tables_are_brackets(word: str) -> None:
    table = Table(title=word)
    table.add_column("token")
    table.add_row(word)
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, highlight=False)
    console.print(table)
    console.print(word)
    assert stream.getvalue().count(word) == 3
    assert "\x1b]8;" not in stream.getvalue()
