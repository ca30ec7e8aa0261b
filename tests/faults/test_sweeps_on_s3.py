"""Whole sweeps on an S3 server, quiet and failing: the rows of a local sweep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from pipeline.runtime.telemetry.progress import Progress
from pipeline.store.output import Output
from pipeline.store.verify.checks import verify
from pipeline.sweep.run import run_sweep
from tests.support.faulty_engines import DiesAtPoints, Point, points_reached, write_points
from tests.support.mixed_prompts import mixed_prompts
from tests.support.s3_proxy import Faults
from tests.support.sweeps import Make, quiet, rows, sweep_with

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.fixture
def cluster_here(faulty: tuple[str, Faults]) -> Iterator[str]:
    """A Ray cluster whose workers know the credentials, as those of a real one do."""
    arguments = {"num_cpus": 2, "object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=arguments)
    yield cluster.address
    cluster.shutdown()


def assert_whole(url: str) -> None:
    found = verify(url)
    assert (found.problems, found.orphans) == ([], [])
    assert len(Output(url).versions()) >= 1


def test_a_sweep_goes_on_where_it_stopped_and_takes_in_new_prompts(
    make_config: Make, cluster_here: str, faulty: tuple[str, Faults], tmp_path: Path
) -> None:
    url, _ = faulty
    for count, done in ((2, 0), (2, 6), (4, 6)):
        data = mixed_prompts(4)[: 3 * count]
        config = make_config(data, shard_size=3, output=url)
        report = run_sweep(config, quiet(), cluster_here)
        assert report.counts.already_done + report.counts.already_failed == done
        assert_whole(url)
    assert len(Output(url).versions()) == 2
    plain = make_config(data, shard_size=3, output=str(tmp_path / "undisturbed"))
    run_sweep(plain, quiet(), cluster_here)
    assert rows(config) == rows(plain)


@pytest.mark.parametrize("seed", range(2))
def test_a_sweep_survives_a_store_that_fails_and_workers_that_die(
    make_config: Make,
    model_folder: Path,
    progress: Progress,
    cluster_here: str,
    faulty: tuple[str, Faults],
    tmp_path: Path,
    seed: int,
) -> None:
    url, faults = faulty
    points = [Point("after", "edges"), Point("before", "_commits"), Point("after", "_commits")]
    write_points(model_folder, points)
    data = mixed_prompts(5)
    config = make_config(data, shard_size=3, output=url)
    faults.follow(seed=seed, rate=0.1)
    report = sweep_with(DiesAtPoints, config, progress, cluster_here)
    assert sum(faults.done().values()) > faults.done()["none"]
    faults.follow()
    assert points_reached(model_folder) == len(points)
    assert (report.counts.done, report.counts.failed) == (10, 5)
    assert_whole(url)
    plain = make_config(data, shard_size=3, output=str(tmp_path / "undisturbed"))
    run_sweep(plain, quiet(), cluster_here)
    assert rows(config) == rows(plain)
