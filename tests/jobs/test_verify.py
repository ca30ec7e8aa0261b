"""`verify` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.store.output import Output
from tests.support.commands import Command, command
from tests.support.filled import commit, fill


def test_sound_damaged_repaired(tmp_path: Path, here: Command) -> None:
    output = fill(Output(tmp_path / "out"))
    done = command("verify", output.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{output.url}: sound (every file and row checked)"

    marker = next(iter(output.committed()))
    path = marker.files["edges"].path
    Path(output.url, path).write_bytes(b"")
    done = here("verify", output.url, "--quick")
    assert done.returncode == 1
    assert f"damaged: {path} has 0 bytes instead of" in done.stdout
    assert f"`circuit-sweep verify {output.url} --repair`" in done.stdout
    assert "DAMAGED (sizes and bookkeeping checked)" in done.stdout
    assert len(done.stdout.splitlines()) < 30

    done = here("verify", output.url, "--format", "json", "--repair")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["sound"]
    assert report["removed"] == [f"_commits/{marker.shard}.json"]
    assert report["parts"][0]["shards"] == 2
    commit(output, range(50, 52))
    assert here("verify", output.url).returncode == 0


def test_a_place_that_cannot_be_looked_at(tmp_path: Path, here: Command) -> None:
    done = here("verify", tmp_path)
    assert done.returncode == 2
    assert "holds no sweep" in done.stderr
