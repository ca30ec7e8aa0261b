"""The house rules that a linter does not know: imports point down, the engine needs no Ray."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import cli

ROOT = Path(__file__).parent.parent

FLOORS = {
    "schemas": 0,
    "pipeline/errors.py": 0,
    "pipeline/importing.py": 0,
    "pipeline/peak_memory.py": 0,
    "pipeline/version.py": 0,
    "pipeline/transcoders": 1,
    "pipeline/graph": 1,
    "pipeline/model": 2,
    "pipeline/attribution": 3,
    "pipeline/store": 3,
    "pipeline/intervention": 4,
    "pipeline/mining": 4,
    "pipeline/planning": 4,
    "pipeline/reading": 4,
    "pipeline/results": 5,
    "pipeline/sweep": 5,
    "pipeline/benchmark": 6,
    "pipeline/export": 6,
    "pipeline/validation": 6,
    "pipeline/verification": 6,
    "jobs": 7,
}
"""A room may import rooms on its own floor's inside and on lower floors. `pipeline/demo` may import any, and
anyone may ask it where the built-in files lie."""


def _room(path: str) -> str | None:
    return next(
        (room for room in FLOORS if path == room or path.startswith(room.removesuffix(".py") + "/")), None
    )


def _imports(file: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


SOURCES = [
    path.relative_to(ROOT)
    for folder in ("schemas", "pipeline", "jobs")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def test_every_room_has_a_floor():
    rooms = {str(path.parent) for path in SOURCES if path.parent != Path("pipeline")}
    known = {room for room in rooms if _room(room) or room.startswith("pipeline/demo")}
    assert rooms == known, f"say on which floor {rooms - known} is"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_point_down(path):
    mine = _room(str(path))
    if mine is None:
        return
    for name in _imports(ROOT / path):
        theirs = _room(name.replace(".", "/")) or _room(name.replace(".", "/") + ".py")
        if theirs and theirs != mine:
            assert FLOORS[theirs] < FLOORS[mine], f"{path} imports {name}"


def test_only_the_sweep_and_the_jobs_import_ray():
    importers = {
        str(path) for path in SOURCES if any(name.split(".")[0] == "ray" for name in _imports(ROOT / path))
    }
    assert {path for path in importers if not path.startswith(("pipeline/sweep", "jobs"))} == set()


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_engine_imports_without_ray_and_without_the_store():
    done = _run(
        "import sys\n"
        "for name in ('ray', 'pyarrow', 'duckdb', 'deltalake', 'fsspec'): sys.modules[name] = None\n"
        "sys.modules.pop('fsspec')\n"
        "from pipeline import ReplacementModel, attribute, prune"
    )
    assert done.returncode == 0, done.stderr


def test_pairs_without_weights_wait_for_no_model():
    done = _run(
        "import sys\nimport pipeline.sweep.pairing\nassert not {'torch', 'transformers'} & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr


def test_help_waits_for_nothing_heavy():
    done = _run(
        "import sys\nfrom jobs.cli import main\nassert main(['--help']) == 0\n"
        "heavy = {'torch', 'ray', 'pyarrow', 'transformers', 'datasets', 'pydantic', 'tyro'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert {path.stem.replace("_", "-") for path in (ROOT / "jobs").glob("[a-z]*.py")} - {"cli"} == listed


def test_a_misspelt_command_is_met_with_the_right_one():
    done = _run("import sys\nfrom jobs.cli import main\nsys.exit(main(['rnu']))")
    assert done.returncode == 2
    assert "did you mean 'run'?" in done.stderr


def test_an_interrupted_command_ends_without_a_traceback(capsys):
    def interrupted(argv):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    try:
        assert cli.run_command(interrupted) == 130
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("command", sorted(cli.commands()))
def test_every_command_is_also_a_module_and_describes_itself(command):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", f"jobs.{command.replace('-', '_')}", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert cli.commands()[command].split()[0] in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "jobs.cli" in imported
    assert not imported & {"torch", "ray", "transformers", "datasets"}
