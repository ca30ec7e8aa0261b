"""Pages show what can be done: sweep files are valid, commands exist, queries and programs run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from jobs import cli
from pipeline import Results
from pipeline.sweep import SweepConfig
from pipeline.training import DICTIONARY_FILE
from tests.support.pages import ROOT, code_blocks, scripts

REQUIRED = {"model": "demo", "transcoders": "demo", "prompts": "demo", "output": "runs/demo"}

COMMAND = re.compile(r"^(?:\$ )?(circuit-sweep .*)$", re.MULTILINE)

COMMANDS = [
    pytest.param(line, id=f"{block}:{line[14:44]}")
    for block in [*code_blocks("bash"), *code_blocks(""), *scripts()]
    if block.page.name != "extending.md"  # which makes its own
    for line in COMMAND.findall(block.code.replace("\\\n", " "))
]

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

PROGRAMS = [block for block in code_blocks("python") if block.is_run]


@pytest.fixture(scope="session")
def demo(demo_folder: Path) -> Results:
    return Results(demo_folder / "runs/demo")


@pytest.mark.parametrize("block", code_blocks("yaml"), ids=str)
def test_sweep_files_are_valid(block):
    values = yaml.safe_load(block.code)
    if "features" in values:
        DICTIONARY_FILE.check(values, str(block))
    else:
        SweepConfig.model_validate(REQUIRED | values)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist_with_their_options(line, capsys):
    """Each command line names a command, and only options that its help knows."""
    _, name, *arguments = shlex.split(line, comments=True)
    if name.startswith("-"):
        return
    assert name in cli.commands()
    with pytest.raises(SystemExit) as end:
        import_module(f"jobs.{name.replace('-', '_')}").main(["--help"])
    assert not end.value.code
    known = set(re.findall(r"--[\w.-]+", capsys.readouterr().out))
    for argument in arguments:
        if argument.startswith("--"):
            assert argument in known, f"{name} has no {argument}"


@pytest.mark.parametrize("block", code_blocks("sql"), ids=str)
def test_queries_have_answers(block, demo, request):
    if block.page.name == "circuits.md":
        demo = Results(request.getfixturevalue("with_circuits"))
    assert demo.sql(block.code).fetchall()


@pytest.mark.parametrize("page", sorted({block.page for block in PROGRAMS}), ids=lambda page: page.name)
def test_programs_run_one_after_the_other(page, demo_folder, monkeypatch):
    monkeypatch.chdir(demo_folder)
    names: dict[str, object] = {}
    for block in PROGRAMS:
        if block.page == page:
            exec(compile(block.code, str(block), "exec"), names)


@pytest.mark.parametrize("block", [b for b in code_blocks("python") if not b.is_run], ids=str)
def test_other_programs_are_at_least_python(block):
    compile(block.code, str(block), "exec")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_run_and_are_short(example, demo_folder, monkeypatch):
    program = example.read_text()
    assert len(program.splitlines()) < 60
    monkeypatch.chdir(demo_folder)
    exec(compile(program, str(example), "exec"), {"__name__": "__main__"})


@pytest.mark.slow
def test_two_sweeps_are_compared(demo_folder, address):
    """The shell script runs as it is, with a `circuit-sweep` that is this one."""
    command = demo_folder / "circuit-sweep"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m jobs.cli "$@"\n')
    command.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{demo_folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_ADDRESS": address,
    }
    done = subprocess.run(
        ["sh", ROOT / "examples/compare_two_sweeps.sh"],
        cwd=demo_folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "edges" in done.stdout


def test_state_features_are_found_by_sql_alone(demo):
    about_one_state = next(block.code for block in code_blocks("sql") if "is_texas" in block.code)
    _, _, texas, others, _ = demo.sql(about_one_state).fetchall()[0]
    assert texas >= 6
    assert others == 0


def test_the_demo_is_complete_and_small(demo):
    prompts, edges = demo.sql("select count(*), sum(kept_edges) from graphs").fetchall()[0]
    assert prompts >= 400
    assert demo.sql("select count(*) from failures").fetchall() == [(0,)]
    assert demo.dataset("edges").count_rows() == edges
    in_files = sum(marker.files["edges"].bytes for marker in demo.output.committed())
    assert in_files / edges <= 10
