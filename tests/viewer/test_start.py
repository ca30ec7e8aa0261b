"""The way to the first page: what is imported for it, and what a wheel brings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pipeline.viewer.page_files import FOLDER, read_page_files
from tests.support.outputs import write_output

ROOT = Path(__file__).parents[2]

FIRST_PAGE = """
import json, sys, time
from tests.support.viewers import served
with served(sys.argv[1]) as server:
    statuses = [server.ask(path).status for path in ("/", "/page/app.js", "/api/sweep", "/api/overview")]
heavy = sorted({"torch", "ray", "transformers", "datasets", "polars", "scipy"} & {*sys.modules})
print(json.dumps([statuses, heavy, time.process_time()]))
"""


def test_the_first_page_needs_no_torch_no_ray_and_little_time(tmp_path):
    output = write_output(tmp_path / "out", range(6), ["a", "b"])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", FIRST_PAGE, output.url],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    statuses, heavy, seconds = json.loads(done.stdout.splitlines()[-1])
    assert statuses == [200] * 4
    assert heavy == []
    assert seconds < 6, "twice the budget, and CPU time: the machine may be shared"


@pytest.mark.slow
def test_a_wheel_brings_every_file_of_the_page(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = {*wheel.namelist()}
        for name, file in read_page_files(FOLDER).items():
            assert wheel.read(f"pipeline/viewer/page/{name}") == file.data
    assert "pipeline/viewer/page/index.html" in names
    assert not [name for name in names if name.startswith("tests/") or name.endswith((".map", ".min.js"))]
