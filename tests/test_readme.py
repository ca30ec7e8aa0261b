"""The README says what is so: its tables are those of the code, its queries run over the demo's output."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from jobs import run
from pipeline.model.families import table as families
from pipeline.store.output import Output
from pipeline.sweep.config import SweepConfig
from pipeline.transcoders.formats import table as formats

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
JOINED = README.replace("\\\n", " ")
COMMANDS = sorted(set(re.findall(r"^(?:\$ )?(circuit-sweep .*)$", JOINED, flags=re.MULTILINE)))
QUERIES = re.findall(r"```sql\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def demo_output(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """The demo's sweep, run as a user runs it."""
    output = str(tmp_path_factory.mktemp("demo") / "output")
    assert run.main([str(ROOT / "pipeline/demo/sweep.yaml"), "--output", output]) == 0
    return Output(output)


def test_sweep_files_are_valid():
    blocks = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 2
    whole, some_keys = (yaml.safe_load(block) for block in blocks)
    SweepConfig.model_validate(whole)
    SweepConfig.model_validate(whole | some_keys)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist_with_their_options(line, capsys):
    """Each command line of the README names a command, and only options that its help knows."""
    _, command, *arguments = shlex.split(line, comments=True)
    with pytest.raises(SystemExit) as end:
        import_module(f"jobs.{command.replace('-', '_')}").main(["--help"])
    assert not end.value.code
    known = " ".join(capsys.readouterr().out.split())
    for argument in arguments:
        if argument.startswith("--"):
            assert argument in known, f"{command} has no {argument}"


@pytest.mark.parametrize(("marker", "table"), [("families", families), ("formats", formats)])
def test_tables_are_generated(marker, table):
    shown = README.partition(f"<!-- {marker} -->")[2].partition(f"<!-- /{marker} -->")[0]
    assert shown.strip() == table(), "copy what the function `table` returns into the README"


def test_five_questions_are_answered(demo_output):
    assert len(QUERIES) == 5
    connection = demo_output.duckdb()
    for query in QUERIES:
        assert connection.execute(query).fetchall(), query


def test_state_features_are_found_by_sql_alone(demo_output):
    about_one_state = next(query for query in QUERIES if "is_texas" in query)
    rows = demo_output.duckdb().execute(about_one_state).fetchall()
    _, _, texas, others, _ = rows[0]
    assert texas >= 6
    assert others == 0


def test_the_demo_is_complete_and_small(demo_output):
    prompts, edges = demo_output.duckdb().execute("select count(*), sum(kept_edges) from graphs").fetchone()
    assert prompts >= 400
    assert demo_output.duckdb().execute("select count(*) from failures").fetchone() == (0,)
    assert demo_output.dataset("edges").count_rows() == edges
    in_files = sum(marker.files["edges"].bytes for marker in demo_output.committed())
    assert in_files / edges <= 10
