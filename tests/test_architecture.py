"""The house rules that a linter does not know: imports point down, the engine needs no Ray."""

from __future__ import annotations

import ast
import re
import signal
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

from jobs import cli

ROOT = Path(__file__).parent.parent

FLOORS = {
    "schemas": 0,
    "pipeline/errors.py": -2,
    "pipeline/untrusted": -1,
    "pipeline/builtin.py": 0,
    "pipeline/configuration": 0,
    "pipeline/credentials.py": -1,
    "pipeline/hub": 0,
    "pipeline/features.py": 1,
    "pipeline/peak_memory.py": 0,
    "pipeline/token_labels.py": -1,
    "pipeline/picture.py": 0,
    "pipeline/paired_differences.py": 0,
    "pipeline/document.py": 0,
    "pipeline/seconds.py": 0,
    "pipeline/readable.py": 0,
    "pipeline/small_llama.py": 0,
    "pipeline/version.py": 0,
    "pipeline/transcoders": 1,
    "pipeline/graph": 1,
    "pipeline/model": 2,
    "pipeline/attribution": 3,
    "pipeline/inspection": 4,
    "pipeline/store": 3,
    "pipeline/intervention": 3,
    "pipeline/planning": 4,
    "pipeline/results": 4,
    "pipeline/sweep_model.py": 4,
    "pipeline/retrace.py": 5,
    "pipeline/runtime": 5,
    "pipeline/aggregates": 6,
    "pipeline/labels": 7,
    "pipeline/compare": 7,
    "pipeline/sweep": 6,
    "pipeline/circuits": 8,
    "pipeline/validation": 7,
    "pipeline/export": 7,
    "pipeline/submission": 9,
    "pipeline/viewer": 8,
    "pipeline/audit": 8,
    "pipeline/training": 8,
    "pipeline/benchmark": 9,
    "pipeline/demo": 9,
    "pipeline/english": 9,
    "pipeline/face.py": 9,
    "jobs": 10,
}
"""A room may import rooms on lower floors."""

MAY_IMPORT_RAY = (
    "pipeline/runtime/gangs/",
    "pipeline/runtime/telemetry/metrics.py",
    "pipeline/runtime/workers/",
    "pipeline/submission/",
    "pipeline/aggregates/tasks.py",
    "jobs/",
)

SOURCES = [
    path.relative_to(ROOT)
    for folder in ("schemas", "pipeline", "jobs")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def _room(path: str) -> str | None:
    """The room of a file or folder, both without their suffix."""
    rooms = (room for room in FLOORS if f"{path}/".startswith(room.removesuffix(".py") + "/"))
    return next(rooms, None)


def _imports(file: Path) -> list[tuple[str, str]]:
    """Everything that a file imports, functions' own and typing-only imports included, as (module, name)."""
    found = []
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, alias.name) for alias in node.names]
    return found


def _target(module: str, name: str) -> Path | None:
    """The file or folder of ours that an import names."""
    for dotted in (f"{module}.{name}", module) if name else (module,):
        path = Path(dotted.replace(".", "/"))
        if path.with_suffix(".py") in SOURCES and not _is_offered(module, name):
            return path.with_suffix(".py")
        if path / "__init__.py" in SOURCES:
            return path
    return None


@cache
def _offers(door: Path) -> dict[str, str]:
    """What a room's door offers: the name, and the file (without suffix) in which it is defined."""
    offered: dict[str, str] = {}
    tree = ast.parse((ROOT / door / "__init__.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("pipeline.", "schemas.")):
            offered |= {alias.asname or alias.name: node.module.replace(".", "/") for alias in node.names}
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy_loader.attach":
            modules = next(
                ast.literal_eval(word.value) for word in node.keywords if word.arg == "submod_attrs"
            )
            for module, names in modules.items():
                offered |= {name: f"{door}/{module.replace('.', '/')}" for name in names}
    return offered


def _is_offered(module: str, name: str) -> bool:
    door = Path(module.replace(".", "/"))
    return door / "__init__.py" in SOURCES and name in _offers(door)


def test_every_room_has_a_floor():
    rooms = {str(path.parent) for path in SOURCES if path.parent != Path("pipeline")}
    known = {room for room in rooms if _room(room)}
    assert rooms == known, f"say on which floor {rooms - known} is"


def test_every_room_is_described_in_the_design_highest_first():
    page = (ROOT / "docs/design.md").read_text()
    described = [room.rstrip("/") for room in re.findall(r"^\| `([\w/.]+)` \| \w", page, flags=re.MULTILINE)]
    assert set(described) == set(FLOORS)
    assert described == sorted(described, key=lambda room: -FLOORS[room])


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_point_down(path):
    mine = _room(str(path.with_suffix("")))
    if mine is None:
        return
    for module, name in _imports(path):
        target = _target(module, name)
        theirs = target and _room(str(target.with_suffix("")))
        if theirs and theirs != mine:
            assert FLOORS[theirs] < FLOORS[mine], f"{path} imports {module}.{name}"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_file_is_imported_from_its_own_folder_only(path):
    for module, name in _imports(path):
        target = _target(module, name)
        if target is None or target.suffix != ".py" or target.parent == Path("pipeline"):
            continue
        assert target.parent in path.parents, f"{path} imports {name} past the door of {target.parent}"


@pytest.mark.parametrize("door", [path.parent for path in SOURCES if path.name == "__init__.py"], ids=str)
def test_doors_offer_what_exists(door):
    for name, file in _offers(door).items():
        module = import_module(file.replace("/", "."))
        assert hasattr(module, name), f"{door} offers {name}, which {file} does not have"
        assert getattr(import_module(str(door).replace("/", ".")), name) is getattr(module, name)


def test_imports_go_in_no_circle():
    arrows: dict[str, set[str]] = {}
    for path in SOURCES:
        if path.name == "__init__.py":
            continue
        arrows[str(path.with_suffix(""))] = targets = set()
        for module, name in _imports(path):
            if _is_offered(module, name):
                targets.add(_offers(Path(module.replace(".", "/")))[name])
            elif (target := _target(module, name)) is not None:
                targets.add(str(target.with_suffix("")))
    try:
        tuple(TopologicalSorter(arrows).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_tests_share_through_support_only():
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for module, name in _imports(path.relative_to(ROOT)):
            if module.split(".")[0] == "tests":
                assert module.startswith("tests.support") or module == "tests", (
                    f"{path} imports {module}.{name}"
                )


def test_only_the_runtime_and_what_submits_import_ray():
    importers = {
        str(path) for path in SOURCES if any(module.split(".")[0] == "ray" for module, _ in _imports(path))
    }
    assert {path for path in importers if not path.startswith(MAY_IMPORT_RAY)} == set()


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
        "import sys\nimport pipeline.aggregates.coactivation.coactivation\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr


def test_a_query_waits_for_nothing_heavy():
    done = _run(
        "import sys\nimport jobs.query\nfrom pipeline import Results\nResults\n"
        "heavy = {'torch', 'ray', 'transformers', 'datasets', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert done.returncode == 0, done.stderr


def test_a_page_waits_for_neither_the_model_nor_ray():
    done = _run(
        "import sys, asyncio\nimport jobs.view, pipeline.viewer.server, pipeline.viewer.export\n"
        "heavy = {'torch', 'ray', 'transformers', 'datasets', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert done.returncode == 0, done.stderr


def test_help_waits_for_nothing_heavy():
    done = _run(
        "import sys\nfrom jobs.cli import main\nassert main(['--help']) == 0\n"
        "heavy = {'torch', 'ray', 'pyarrow', 'transformers', 'datasets', 'pydantic', 'tyro', 'scipy'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert done.returncode == 0, done.stderr
    listed = {line.split()[0] for line in done.stdout.splitlines() if re.match("  [a-z]", line)}
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
    assert not imported & {"torch", "ray", "transformers", "datasets", "scipy"}
