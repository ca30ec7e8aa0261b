"""The changes that the page on extending shows: in a copy of the sources each applies, and its check passes.

They are made in the order of the page, since the last uses what the one before it adds.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

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
        if "diff" in blocks:
            found.append(Extension(section.partition("\n")[0], blocks["diff"], blocks["bash"]))
    return found


EXTENSIONS = _extensions()
TITLES = [extension.title for extension in EXTENSIONS]


@dataclass
class Copy:
    """The sources, changed as far as the page has got."""

    folder: Path
    made: int = 0
    """Number of changes that have been made."""

    def change(self, number: int) -> None:
        """Make all changes up to this one."""
        for extension in EXTENSIONS[self.made : number + 1]:
            applied = run_script(self.folder, "git apply -C1 --verbose -", extension.diff)
            assert applied.returncode == 0, f"{extension.title}: {applied.stderr}"
        self.made = max(self.made, number + 1)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("extending") / "sources"
    shutil.copytree(ROOT, folder, ignore=NOT_COPIED, ignore_dangling_symlinks=True)
    (folder / "runs").mkdir()
    return Copy(folder)


@pytest.mark.parametrize("number", range(len(EXTENSIONS)), ids=TITLES)
def test_a_change_fits_on_a_screen_and_applies(number: int, copy: Copy):
    assert len(EXTENSIONS[number].diff.splitlines()) <= SCREEN
    copy.change(number)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(EXTENSIONS)), ids=TITLES)
def test_a_change_works(number: int, copy: Copy, demo_folder: Path, address: str):
    copy.change(number)
    if not (demo := copy.folder / "runs/demo").exists():
        demo.symlink_to(demo_folder / "runs/demo")
    checked = run_script(copy.folder, EXTENSIONS[number].check, RAY_ADDRESS=address)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def run_script(
    folder: Path, script: str, stdin: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
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
        **variables,
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
