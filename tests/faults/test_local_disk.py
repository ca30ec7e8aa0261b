"""A disk that is full or may not be written: real file systems, mounted where the machine allows it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import StoreError
from pipeline.runtime.telemetry.progress import Progress
from pipeline.store.commits.keys import shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.verify.checks import verify
from pipeline.sweep.run import run_sweep
from tests.support.random_graphs import random_prompt
from tests.support.sweeps import Make, prompts, quiet, rows

pytestmark = pytest.mark.faults

RUN_KEY = -7


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    if _mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", place) != 0:
        pytest.skip("mounting a small file system needs more rights than this user or container has")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def _mount(*arguments: object) -> int:
    try:
        return subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return 1


def fill(disk: Path, leave: int = 0) -> Path:
    """Take up all space but a little."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            file.truncate(file.tell() - leave)
    return ballast


def one_shard(output: Output) -> tuple[str, dict[str, pa.Table]]:
    prompts = [random_prompt(seed, edges=3000) for seed in range(2)]
    shard = shard_id([prompt.prompt_key for prompt in prompts], RUN_KEY)
    return shard, join_tables(graph_tables(prompt, output.extra_columns) for prompt in prompts)


@pytest.mark.parametrize("pages", [0, 1, 3, 6, 10])
def test_a_full_disk_is_said_and_nothing_is_half_there(disk: Path, pages: int) -> None:
    """With so many free pages, space runs out at the first file, at a later one, or at the marker."""
    output = Output(disk / "out")
    output.claim({}, RUN_KEY)
    shard, tables = one_shard(output)
    for table in (*tables, "_commits"):
        (disk / "out" / table / "_data").mkdir(parents=True)
    ballast = fill(disk, 4096 * pages)
    with pytest.raises(StoreError, match=r"cannot (write|create) .*No space left on device.*the free space"):
        output.commit(shard, tables)
    assert list(output.committed()) == []
    assert verify(output.url).sound
    ballast.unlink()
    assert output.commit(shard, tables)
    output.delete_orphans()
    output.publish(RUN_KEY)
    report = verify(output.url)
    assert (report.problems, report.orphans) == ([], [])


def test_publishing_to_a_full_disk_is_said_and_done_later(disk: Path) -> None:
    output = Output(disk / "out")
    output.claim({}, RUN_KEY)
    output.commit(*one_shard(output))
    ballast = fill(disk)
    with pytest.raises(StoreError, match="cannot publish"):
        output.publish(RUN_KEY)
    ballast.unlink()
    output.publish(RUN_KEY)
    report = verify(output.url)
    assert (report.problems, report.orphans) == ([], [])


@pytest.mark.parametrize("pages", [4, 20, 40])
def test_a_compaction_on_a_full_disk_makes_room_again(disk: Path, pages: int) -> None:
    output = Output(disk / "out")
    output.claim({}, RUN_KEY)
    output.commit(*one_shard(output))
    output.publish(RUN_KEY)
    before = {path for path in disk.rglob("*") if path.is_file()}
    ballast = fill(disk, 4096 * pages)
    with pytest.raises(StoreError, match="No space left on device"):
        output.compact()
    assert {path for path in disk.rglob("*") if path.is_file()} - before == {ballast}
    ballast.unlink()
    assert output.compact()
    assert verify(output.url).sound


def test_a_sweep_on_a_full_disk_stops_and_goes_on_when_there_is_space(
    make_config: Make, progress: Progress, address: str, disk: Path, tmp_path: Path
) -> None:
    data = prompts(12)
    config = make_config(data, output=str(disk / "out"))
    Output(config.output).folder.write("before", b"")
    ballast = fill(disk, 4096 * 30)
    with pytest.raises(StoreError, match="No space left on device"):
        run_sweep(config, quiet(), address)
    ballast.unlink()
    report = run_sweep(config, progress, address)
    assert report.counts.done + report.counts.already_done == len(data)
    plain = make_config(data, output=str(tmp_path / "undisturbed"))
    run_sweep(plain, quiet(), address)
    assert rows(config) == rows(plain)
    found = verify(config.output)
    assert (found.problems, found.orphans) == ([], [])


def test_a_disk_that_became_read_only_is_said(disk: Path) -> None:
    output = Output(disk / "out")
    output.claim({}, RUN_KEY)
    shard, tables = one_shard(output)
    assert _mount("-o", "remount,ro", disk) == 0
    for act in (
        lambda: output.commit(shard, tables),
        lambda: output.publish(RUN_KEY),
        lambda: output.hold().__enter__(),
        lambda: Output(disk / "other").claim({}, RUN_KEY),
    ):
        with pytest.raises(StoreError, match=r"cannot (?s:.*)Read-only file system"):
            act()
    assert verify(output.url).sound
    assert _mount("-o", "remount,rw", disk) == 0
    assert output.commit(shard, tables)


def test_a_truncated_file_is_found_and_a_run_after_the_repair_heals_it(
    make_config: Make, progress: Progress, address: str, tmp_path: Path
) -> None:
    from pipeline.store.verify.repairs import repair

    data = prompts(12)
    config = make_config(data)
    run_sweep(config, quiet(), address)
    whole = rows(config)
    first, second, _ = Output(config.output).committed()
    for name in (first.files["edges"].path, f"_commits/{second.shard}.json"):
        path = Path(config.output, name)
        path.write_bytes(path.read_bytes()[:-20])
    assert len(verify(config.output).problems) == 2
    assert len(repair(config.output)) == 2
    report = run_sweep(config, progress, address)
    assert (report.counts.done, report.counts.already_done) == (8, 4)
    assert rows(config) == whole
    found = verify(config.output)
    assert (found.problems, found.orphans) == ([], [])
