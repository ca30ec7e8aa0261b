"""Gangs on a real Ray: killed, asked to stop, given up."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from rich.console import Console

from pipeline.errors import StoreError
from pipeline.runtime import GangProgress, GangSchedule, Unit, WorkersConfig, run_gangs
from pipeline.store import Output
from tests.support.counting_gangs import EVERY, STEPS, Count, saved, steps_of
from tests.support.prometheus import highest, scraped
from tests.support.sweeps import wait_for

ONE_CORE = WorkersConfig(replicas=2, cores_per_replica=1)


def count(folder: Path, address: str, *units: Unit, pause: float = 0.02) -> tuple[GangSchedule, GangProgress]:
    progress = GangProgress(Console(quiet=True))
    work = Count(str(folder), pause)
    with Output(folder / "output").hold() as lease:
        done = run_gangs(
            work, units, str(folder), ONE_CORE, progress, lease, partial(saved, str(folder)), address=address
        )
    return done, progress


def test_a_unit_whose_process_is_killed_goes_on_and_others_do_not_notice(
    tmp_path: Path, address: str
) -> None:
    (tmp_path / "a-7-0-kill").touch()
    found, progress = count(tmp_path, address, Unit("a"), Unit("b"))
    assert sorted(found.done) == ["a", "b"]
    assert steps_of(tmp_path, "a") == [*range(7), *range(6, STEPS)]
    assert steps_of(tmp_path, "b") == [*range(STEPS)]
    assert any("a goes on from step 6" in note for note in progress.notes)


def test_a_member_that_is_killed_ends_its_gang_which_goes_on_from_the_last_checkpoint(
    tmp_path: Path, address: str
) -> None:
    (tmp_path / "pair-7-1-kill").touch()
    found, _ = count(tmp_path, address, Unit("pair", members=2))
    assert (found.done, found.deaths) == (["pair"], 1)
    assert steps_of(tmp_path, "pair") == [*range(7), *range(6, STEPS)]


def test_a_unit_that_is_given_up_ends_alone(tmp_path: Path, address: str) -> None:
    (tmp_path / "a-4-0-give-up").touch()
    found, progress = count(tmp_path, address, Unit("a"), Unit("b"))
    assert found.failed == {"a": "step 4 is not a number: lower the rate"}
    assert found.done == ["b"]
    assert any("a is given up, kept at step 3" in note for note in progress.notes)


def test_a_store_that_fails_once_is_tried_again(tmp_path: Path, address: str) -> None:
    (tmp_path / "a-4-0-no-room").touch()
    found, _ = count(tmp_path, address, Unit("a"))
    assert found.done == ["a"]
    assert steps_of(tmp_path, "a") == [*range(4), *range(EVERY, STEPS)]


def test_a_signal_keeps_what_is_at_work(tmp_path: Path, address: str) -> None:
    def interrupt() -> None:
        wait_for(lambda: (tmp_path / "a.log").exists() and len(steps_of(tmp_path, "a")) > 4)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        count(tmp_path, address, Unit("a"), pause=0.3)
    thread.join()
    kept = saved(str(tmp_path), "a")
    assert kept == len(steps_of(tmp_path, "a")) > 4
    found, _ = count(tmp_path, address, Unit("a"))
    assert found.done == ["a"]
    assert steps_of(tmp_path, "a") == [*range(STEPS)]


def test_two_drivers_exclude_each_other(tmp_path: Path, address: str) -> None:
    with Output(tmp_path / "output").hold(), pytest.raises(StoreError, match="is being written by process"):
        count(tmp_path, address, Unit("a"))


@pytest.mark.faults
def test_prometheus_sees_how_far_units_are(tmp_path: Path) -> None:
    (tmp_path / "a-5-0-kill").touch()
    head = {"object_store_memory": 80 << 20, "include_dashboard": False, "num_cpus": 2}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={**head, "_system_config": {"metrics_report_interval_ms": 500}},
    )
    try:
        with ThreadPoolExecutor(1) as pool:
            counted = pool.submit(count, tmp_path, cluster.address, Unit("a"), Unit("b"), pause=1.5)
            seen = scraped(lambda: not counted.done())
            counted.result()
    finally:
        cluster.shutdown()
    for unit in "ab":
        assert 0 < highest(seen, "training_step", output=str(tmp_path), unit=unit) <= STEPS
        assert highest(seen, "training_saved_step", unit=unit) % EVERY == 0
        assert highest(seen, "training_tokens_per_second", unit=unit) == 1
        assert 0 < highest(seen, "training_figure", unit=unit, name="fvu") <= 1
    assert highest(seen, "training_deaths_total") == 1


def test_nothing_to_do_asks_for_no_cluster(tmp_path: Path) -> None:
    found, _ = count(tmp_path, "nobody.invalid:1")  # where it would be joined, that would raise
    assert found.done == []
