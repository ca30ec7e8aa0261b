"""`query` and `compact` as a user runs them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.store.commits.keys import shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from tests.support.commands import Command, command
from tests.support.random_graphs import random_prompt


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of two nights, of two prompts each."""
    output = Output(tmp_path_factory.mktemp("outputs") / "out")
    output.claim({}, -7, pa.schema([("family", pa.string())]))
    for first in (0, 2):
        prompts = [random_prompt(seed, extra_columns={"family": f"f{first}"}) for seed in (first, first + 1)]
        rows = join_tables(graph_tables(prompt, output.extra_columns) for prompt in prompts)
        output.commit(shard_id([prompt.prompt_key for prompt in prompts], -7), rows)
        output.publish(-7)
    return Path(output.url)


def test_an_answer_is_printed(folder: Path) -> None:
    done = command("query", folder, "select family, sum(kept_edges) as edges from graphs group by family")
    assert done.returncode == 0, done.stderr
    assert "f2" in done.stdout
    assert "600" in done.stdout


def test_a_program_reads_an_answer(folder: Path, tmp_path: Path, here: Command) -> None:
    sql = "select id, tokens from graphs order by id"
    shown = here("query", folder, sql, "--format", "json")
    assert [row["id"] for row in json.loads(shown.stdout)] == [f"prompt-{number}" for number in range(4)]
    here("query", folder, sql, "--output", tmp_path / "answer.json")
    assert (tmp_path / "answer.json").read_text() == shown.stdout


def test_an_earlier_night(folder: Path, here: Command) -> None:
    done = here("query", folder, "select count(*) as n from graphs", "--at", "0", "--format", "csv")
    assert done.stdout == "n\n2\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["selct 1"], "syntax error at or near"),
        (["select 1", "--at", "9"], "has no version 9; there are 0 ("),
        (["select 1", "--at", "2020-02-30"], "is neither a version nor a date"),
        (["--format", "csv"], "give the query too"),
        (["select 1", "--output", "answer.xyz"], "answer.xyz"),
    ],
)
def test_mistakes_are_explained(folder: Path, here: Command, arguments: list[str], message: str) -> None:
    done = here("query", folder, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


NO_OUTPUTS = {"empty": lambda path: path.mkdir(), "a file": lambda path: path.write_text("x"), "missing": str}


@pytest.mark.parametrize("name", ["query", "compact"])
@pytest.mark.parametrize("make", NO_OUTPUTS.values(), ids=NO_OUTPUTS)
def test_a_folder_that_is_no_output_is_named(
    tmp_path: Path, here: Command, make: Callable[[Path], object], name: str
) -> None:
    make(tmp_path / "runs")
    done = here(name, tmp_path / "runs", *(["select 1"] if name == "query" else []))
    assert done.returncode == 2
    assert str(tmp_path / "runs") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("name", ["query", "show", "verify", "diff"])
def test_an_output_without_read_permission_is_named(
    folder: Path, tmp_path: Path, here: Command, name: str
) -> None:
    output = Path(shutil.copytree(folder, tmp_path / "out"))
    words = {"query": ["select 1"], "show": ["--prompt", "prompt-0"], "diff": [folder]}
    output.chmod(0)
    try:
        done = here(name, output, *words.get(name, []))
    finally:
        output.chmod(0o755)
    assert done.returncode == 2
    assert str(output) in done.stderr
    assert "Traceback" not in done.stderr


def test_compact_says_what_it_did_and_does_it_once(folder: Path, here: Command) -> None:
    before = here("query", folder, "select * from edges order by all", "--format", "csv").stdout
    done = here("compact", folder, "--vacuum")
    assert done.returncode == 0, done.stderr
    assert "edges_by_source" in done.stdout
    assert "deleted 14 replaced files" in done.stdout
    assert here("query", folder, "select * from edges order by all", "--format", "csv").stdout == before
    assert "nothing to do" in here("compact", folder, "--all").stdout
    gone = here("query", folder, "select 1", "--at", "0")
    assert "version 0 of" in gone.stderr
    assert "version 2 is the first that is whole" in gone.stderr
