"""Workers killed at every point of a shard: the tables end as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runtime.telemetry.progress import Progress
from pipeline.store.output import Output
from pipeline.store.verify.checks import verify
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.run import run_sweep
from schemas import TABLES
from tests.support.faulty_engines import DiesAtPoints, Point, points_reached, write_points
from tests.support.mixed_prompts import mixed_prompts
from tests.support.sweeps import Make, quiet, rows, sweep_with

pytestmark = pytest.mark.faults


PLACES = (*TABLES, "_commits")


def killed_at(
    points: list[Point], config: SweepConfig, model_folder: Path, progress: Progress, address: str
) -> None:
    """Run a sweep whose workers are killed at each point, and find it whole."""
    write_points(model_folder, points)
    report = sweep_with(DiesAtPoints, config, progress, address)
    assert points_reached(model_folder) == len(points)
    shards = len(points) + 1
    assert (report.counts.done, report.counts.failed) == (2 * shards, shards)
    found = verify(config.output)
    assert (found.problems, found.orphans) == ([], [])
    assert len(Output(config.output).versions()) == 1


@pytest.mark.parametrize("when", ["before", "half", "after"])
@pytest.mark.timeout(600)
def test_a_worker_killed_around_every_file_costs_nothing_but_time(
    make_config: Make, model_folder: Path, progress: Progress, address: str, tmp_path: Path, when: str
) -> None:
    points = [Point(when, place) for place in PLACES]
    data = mixed_prompts(len(points) + 1)
    config = make_config(data, shard_size=3)
    killed_at(points, config, model_folder, progress, address)
    plain = make_config(data, shard_size=3, output=str(tmp_path / "undisturbed"))
    run_sweep(plain, quiet(), address)
    assert rows(config) == rows(plain)


@pytest.mark.timeout(600)
def test_a_worker_killed_in_the_middle_of_a_shard_costs_nothing_but_time(
    make_config: Make, model_folder: Path, progress: Progress, address: str, tmp_path: Path
) -> None:
    points = [Point("tracing")]
    data = mixed_prompts(len(points) + 1)
    config = make_config(data, shard_size=3)
    killed_at(points, config, model_folder, progress, address)
    plain = make_config(data, shard_size=3, output=str(tmp_path / "undisturbed"))
    run_sweep(plain, quiet(), address)
    assert rows(config) == rows(plain)
