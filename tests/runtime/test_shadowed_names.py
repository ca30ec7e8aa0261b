"""A user's folder that holds files with the names of our packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tiny_model import make_model, make_transcoders, sentence

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a sweep, and with packages of the user's own."""
    folder = tmp_path / "mine"
    (folder / "jobs").mkdir(parents=True)
    (folder / "jobs" / "__init__.py").write_text("raise RuntimeError('the user\\'s own')\n")
    (folder / "pipeline.py").write_text("raise RuntimeError('the user\\'s own')\n")
    make_model(folder / "model")
    make_transcoders(folder / "transcoders")
    (folder / "prompts.jsonl").write_text(json.dumps({"prompt": sentence(1)}))
    (folder / "sweep.yaml").write_text(
        "model: ./model\ntranscoders: ./transcoders\nprompts: prompts.jsonl\noutput: output\n"
    )
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    environment.pop("RAY_ADDRESS", None)
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_workers_import_what_the_driver_imported(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "circuit-sweep"  # as the installed one: Python looks beside the script first
    script.write_text("import sys\nfrom jobs.cli import main\nsys.exit(main())\n")
    done = run(folder, str(script), "run", "sweep.yaml")
    assert (done.returncode, done.stderr.count("died")) == (0, 0), done.stderr
    assert (folder / "output" / "graphs").exists()


def test_where_python_itself_would_import_the_users_file_the_message_says_so(folder: Path) -> None:
    (folder / "jobs" / "__init__.py").unlink()
    (folder / "jobs").rmdir()
    done = run(folder, "-m", "jobs.run", "sweep.yaml")
    assert done.returncode != 0
    assert str(folder / "pipeline.py") in done.stderr
    assert "Traceback" not in done.stderr
