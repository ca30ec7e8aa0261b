"""Each change that the page on extending shows: in a copy of the sources it applies, and its check passes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.store import Output
from tests.support.pages import FENCE, ROOT

SCREEN = 75
"""Most lines of a diff."""

NOT_COPIED = shutil.ignore_patterns(".*", "runs", "__pycache__", "golden", "*.egg-info")


@dataclass(frozen=True)
class Extension:
    """A section of the page: what to change, and how to see that it works."""

    title: str
    diff: str
    check: str


def _extensions() -> list[Extension]:
    _, *sections = re.split(r"^## ", (ROOT / "docs/extending.md").read_text(), flags=re.MULTILINE)
    found = []
    for section in sections:
        blocks = dict(FENCE.findall(section))
        found.append(Extension(section.partition("\n")[0], blocks["diff"], blocks["bash"]))
    return found


EXTENSIONS = _extensions()


@pytest.mark.parametrize("extension", EXTENSIONS, ids=lambda extension: extension.title)
def test_a_change_fits_on_a_screen_and_works(extension: Extension, random_output: Output, tmp_path: Path):
    assert len(extension.diff.splitlines()) <= SCREEN
    copy = tmp_path / "sources"
    shutil.copytree(ROOT, copy, ignore=NOT_COPIED, ignore_dangling_symlinks=True)
    (copy / "runs").mkdir()
    (copy / "runs/demo").symlink_to(random_output.url)
    applied = _run(copy, "git apply -C1 --verbose -", extension.diff)
    assert applied.returncode == 0, applied.stderr
    checked = _run(copy, extension.check)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def _run(folder: Path, script: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a folder whose sources are those that are imported."""
    tools = folder / "runs/bin"
    tools.mkdir(exist_ok=True)
    for name, command in (("python", ""), ("circuit-sweep", "-m jobs.cli")):
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} {command} "$@"\n')
        (tools / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "GIT_CEILING_DIRECTORIES": str(folder.parent),  # else git would look for a repository around it
    }
    return subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
