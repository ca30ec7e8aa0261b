"""Sweeps on a real Ray that are told to end, or that meet prompts which never do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray._raylet import GcsClient
from ray.autoscaler.v2.sdk import get_cluster_resource_state
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

from pipeline.runtime import driver as driver_module
from pipeline.runtime.telemetry.progress import Progress
from pipeline.runtime.telemetry.run_report import RunReport
from pipeline.runtime.telemetry.status import read_status
from pipeline.runtime.workers import cluster_watch
from pipeline.store.output import Output
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.run import run_sweep
from tests.support.misbehaving_engines import Hangs, HangsWithTheLock, Slow
from tests.support.prometheus import highest, scraped
from tests.support.sweeps import Make, prompts, quiet, rows, start_driver, sweep_with, wait_for

pytestmark = pytest.mark.faults

NODE = {"object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that looks around every second."""
    monkeypatch.setattr(driver_module, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(cluster_watch, "GRACE_SECONDS", 2.0)


def traced_by(config: SweepConfig) -> list[int]:
    """Process numbers of the workers that have traced a prompt."""
    flags = Path(config.model).parent.glob("traced-by-*")
    return [int(flag.name.rpartition("-")[2]) for flag in flags]


def same_as_undisturbed(config: SweepConfig, address: str) -> None:
    expected = config.model_copy(update={"output": f"{config.output}-undisturbed"})
    run_sweep(expected, quiet(), address)
    assert rows(config) == rows(expected)


def test_a_hanging_prompt_fails_and_all_others_are_done(
    make_config: Make, progress: Progress, address: str
) -> None:
    data = [*prompts(5), {"id": "hangs", "prompt": "w27 w1 w2"}, *prompts(9)[5:]]
    config = make_config(data, workers={"replicas": 1, "cores_per_replica": 1, "prompt_seconds": 40})
    report = sweep_with(Hangs, config, progress, address)
    assert (report.counts.done, report.counts.failed) == (9, 1)
    (failure,) = rows(config)["failures"]
    assert (failure["id"], failure["stage"], failure["error_class"]) == ("hangs", "worker", "PromptTimeout")
    assert "longer than 40 s" in failure["message"]
    assert not any("died" in note for note in report.notes)


def test_a_prompt_that_stops_its_whole_process_is_given_up(
    make_config: Make, progress: Progress, address: str, brisk: None
) -> None:
    data = [*prompts(3), {"id": "stuck", "prompt": "w27 w1 w2"}]
    workers = {"replicas": 1, "cores_per_replica": 1, "prompt_seconds": 5}
    config = make_config(data, workers=workers, shard_size=2)
    report = sweep_with(HangsWithTheLock, config, progress, address)
    assert (report.counts.done, report.counts.failed) == (3, 1)
    (failure,) = rows(config)["failures"]
    assert (failure["id"], failure["error_class"]) == ("stuck", "WorkerDied")
    assert "no sign of life for 7 s" in failure["message"]


def test_a_worker_told_to_end_hands_back_the_rest(
    make_config: Make, progress: Progress, address: str
) -> None:
    config = make_config(prompts(12), shard_size=12)

    def end_worker() -> None:
        wait_for(lambda: bool(traced_by(config)))
        os.kill(traced_by(config)[0], signal.SIGTERM)

    killer = threading.Thread(target=end_worker)
    killer.start()
    report = sweep_with(Slow, config, progress, address)
    killer.join()
    assert (report.counts.done, report.counts.failed) == (12, 0)
    assert [note for note in report.notes if "leaves" in note]
    assert not any("died" in note for note in report.notes)
    markers = list(Output(config.output).committed())
    assert len({marker.worker for marker in markers}) == len(markers) == 2
    same_as_undisturbed(config, address)


def test_a_driver_told_to_end_keeps_what_workers_have_of_their_shards(
    make_config: Make, progress: Progress, address: str, tmp_path: Path
) -> None:
    config = make_config(prompts(40), shard_size=40)
    driver = start_driver(config, address, tmp_path)
    wait_for(lambda: bool(traced_by(config)), driver)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(timeout=60) == 130
    (marker,) = Output(config.output).committed()
    assert 1 <= len(marker.prompt_keys) < 40
    assert read_status(Output(config.output)).state == "interrupted"

    report = run_sweep(config, progress, address)
    assert report.counts.already_done == len(marker.prompt_keys)
    assert report.counts.done == 40 - report.counts.already_done
    same_as_undisturbed(config, address)


@pytest.mark.timeout(600)
def test_a_second_signal_ends_at_once_and_more_of_them_leave_no_traceback(
    make_config: Make, tmp_path: Path
) -> None:
    data = [*prompts(1), {"id": "hangs", "prompt": "w27 w1 w2"}]
    config = make_config(data)
    driver = start_driver(config, None, tmp_path, "Hangs", stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: bool(traced_by(config)), driver, seconds=300)
        driver.send_signal(signal.SIGINT)
        time.sleep(3)
        assert driver.poll() is None, "the first one waits for the prompt at hand"
        told = time.monotonic()
        while driver.poll() is None and time.monotonic() - told < 120:
            driver.send_signal(signal.SIGINT)
            time.sleep(0.2)
        assert driver.returncode == 130
    finally:
        driver.kill()
    assert "Traceback" not in driver.stderr.read()
    (stored,) = (Path(config.output) / "_runs").glob("*.json")
    assert json.loads(stored.read_text())["state"] == "KeyboardInterrupt"


def test_machines_that_join_later_get_work(make_config: Make, progress: Progress, brisk: None) -> None:
    workers = {"min_replicas": 1, "gpus_per_replica": 0, "cores_per_replica": 1}
    config = make_config(prompts(60), workers=workers, shard_size=2)
    with machines() as cluster, sweeping(config, progress, cluster) as sweep:
        wait_for(lambda: {"CPU": 1.0} in demands(cluster))
        cluster.add_node(num_cpus=1, **NODE)
        wait_for(lambda: len(traced_by(config)) == 1)
        cluster.add_node(num_cpus=1, **NODE)
        report = sweep.result()
    assert report.counts.done == 60
    assert len({marker.worker for marker in Output(config.output).committed()}) == 2


@contextmanager
def machines() -> Iterator[Cluster]:
    """A cluster whose head only drives."""
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    try:
        yield cluster
    finally:
        cluster.shutdown()


@contextmanager
def sweeping(config: SweepConfig, progress: Progress, cluster: Cluster) -> Iterator[Future[RunReport]]:
    """A slow sweep under way in a thread: machines can only be added from the main one."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(sweep_with, Slow, config, progress, cluster.address)


def demands(cluster: Cluster) -> list[dict[str, float]]:
    """What an autoscaler of the cluster would find asked for and not there."""
    state = get_cluster_resource_state(GcsClient(cluster.address))
    return [dict(asked.request.resources_bundle) for asked in state.pending_resource_requests]


def test_a_machine_that_is_about_to_go_is_left_in_good_order(
    make_config: Make, progress: Progress, brisk: None
) -> None:
    config = make_config(prompts(30), shard_size=30)
    with machines() as cluster:
        first = cluster.add_node(num_cpus=1, **NODE)
        with sweeping(config, progress, cluster) as sweep:
            wait_for(lambda: bool(traced_by(config)))
            cluster.add_node(num_cpus=1, **NODE)
            accepted, reason = GcsClient(cluster.address).drain_node(
                first.node_id,
                autoscaler_pb2.DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION,
                "spot notice",
                int(time.time() * 1000) + 60_000,
            )
            assert accepted, reason
            report = sweep.result()
    assert (report.counts.done, report.counts.failed) == (30, 0)
    assert any("about to go" in note for note in report.notes)
    assert not any("died" in note for note in report.notes)


def test_prometheus_sees_a_sweep(make_config: Make, progress: Progress, brisk: None) -> None:
    config = make_config([*prompts(40), {"id": "empty", "prompt": ""}], shard_size=2)
    settings = {"metrics_report_interval_ms": 500}
    head = {**NODE, "num_cpus": 1, "_system_config": settings}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        with sweeping(config, progress, cluster) as sweep:
            seen = scraped(lambda: not sweep.done())
            sweep.result()
    finally:
        cluster.shutdown()
    assert highest(seen, "prompts_total", outcome="graph") > 0
    assert highest(seen, "rows_total", table="edges") > 0
    assert highest(seen, "bytes_total", table="edges") > 0
    assert highest(seen, "seconds_total", phase="rows") > 0
    assert highest(seen, "queued_shards") > 0
    assert highest(seen, "workers", state="working") == 1
