"""The driver's decisions, without a cluster: what becomes of shards that come back, and who is sent where."""

from __future__ import annotations

import io
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayTaskError
from rich.console import Console

from pipeline.errors import CircuitSweepError, StoreError
from pipeline.runtime.deaths import LOAD_DEATHS
from pipeline.runtime.driver import Driver
from pipeline.runtime.messages import ShardReport, Sign
from pipeline.runtime.placement import Placement
from pipeline.runtime.pool import Call, Fleet, Replica
from pipeline.runtime.shard import Shard, ShardPrompt
from pipeline.runtime.telemetry.heartbeat import ProgressFile
from pipeline.runtime.telemetry.metrics import Metrics, Tally
from pipeline.runtime.telemetry.progress import Progress
from pipeline.store.output import Output


@dataclass
class FleetOnPaper(Fleet):
    """Notes what replicas are told, and tells none."""

    worker: Any = None
    prompt_seconds: float = 60.0
    ended: list[tuple[Call, Any]] = field(default_factory=list)
    """What the next collection yields."""

    waits: list[float] = field(default_factory=list)
    """How long each collection may have waited."""

    def send(self, replica: Replica, shard: Shard) -> None:
        replica.shards.append(shard)

    def ask_for_sign(self, replica: Replica) -> None:
        replica.asked = replica.asked or 1e9

    def collect(self, timeout: float) -> Iterator[tuple[Call, Any]]:
        self.waits.append(timeout)
        yield from self.ended

    def remove(self, replica: Replica) -> list[Shard]:
        self.replicas.remove(replica)
        return replica.shards


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    console = Console(file=io.StringIO())
    driver = Driver((), Output(tmp_path), FleetOnPaper(), lambda: Placement(1, 1, 0), Progress(console))
    driver.metrics = Metrics("test")
    return driver


def replica(driver: Driver, *shards: Shard, loaded: bool = True) -> Replica:
    made = Replica(actor=None, loaded=loaded, shards=list(shards))
    driver.fleet.replicas.append(made)
    return made


def shard(*keys: int) -> Shard:
    return Shard(tuple(ShardPrompt(key, f"q{key}", None, (key,), {}) for key in keys), (), 7)


def test_a_shard_of_nothing_but_rejected_prompts_is_not_lost_with_its_worker(driver: Driver) -> None:
    prompt = ShardPrompt(1, "q1", None, (), {})
    rejected = Shard((), (prompt.failed(7, "tokenize", ValueError("no tokens")),), 7)
    driver._reported(replica(driver), rejected, ShardReport(0, leaving=True))
    assert list(driver.waiting.ready) == [rejected]


def test_what_a_shard_left_that_was_committed_in_part_belongs_to_nobody(driver: Driver) -> None:
    whole, driver.seen_commit = shard(1, 2), True
    driver._reported(replica(driver), whole, ShardReport(1, graphs=1, shard=whole.until(1).id, leaving=True))
    assert list(driver.waiting.ready) == [whole.after(1)]
    assert driver.output.abandoned == {whole.id}


def test_a_suspect_that_could_not_be_written_stays_one(driver: Driver) -> None:
    suspect = shard(1, 2).after_death()
    leaving = replica(driver)
    leaving.leaving = True
    error = RayTaskError("run", "", StoreError("full"))
    driver.fleet.ended = [(Call("run", leaving, suspect), error)]
    driver._collect(0.0)
    assert list(driver.waiting.suspects) == [replace(suspect, errors=1)]
    assert not driver.waiting.ready
    assert not driver.fleet.replicas  # it had nothing more


def test_a_suspect_goes_to_a_worker_that_answered_since_the_last_death(driver: Driver) -> None:
    idle = replica(driver)
    driver._died(replica(driver, shard(1)), "killed")
    (suspect,) = driver.waiting.suspects
    driver._dispatch()
    assert (idle.shards, idle.asked) == ([], 1e9)
    idle.heard = idle.asked
    driver._ended(Call("sign", idle), Sign(None))
    driver._dispatch()
    assert idle.shards == [suspect]


def test_the_driver_waits_when_enough_shards_are_ready_and_not_before(driver: Driver) -> None:
    driver.looked, driver.wanted = time.monotonic(), Placement(2, 1, 0)  # four are enough
    busy = [replica(driver, shard(1), shard(2)) for _ in range(2)]
    source = iter([shard(key) for key in range(3, 9)])
    with ProgressFile(driver.output.folder) as board:
        for _ in range(5):
            driver._step(source, board)
        assert driver.fleet.waits == [0, 0, 0, 1, 1]
        busy[0].shards.pop()  # the place that got free is filled, and the queue with it
        driver._step(source, board)
        assert (len(busy[0].shards), len(driver.waiting.ready), driver.fleet.waits[5:]) == (2, 4, [1])
        driver.waiting.ready.clear()
        for _ in range(2):
            driver._step(source, board)
        assert (len(driver.waiting.ready), driver.fleet.waits[6:]) == (1, [0, 1])  # there are no more


def test_workers_that_load_beside_each_other_and_die_count_once(driver: Driver) -> None:
    for loading in [replica(driver, loaded=False) for _ in range(2 * LOAD_DEATHS)]:
        driver._died(loading, "its machine is gone")
    assert driver.loading_deaths.waves == 1
    waves = [replica(driver, loaded=False) for _ in range(LOAD_DEATHS - 1)]
    for hours, later in enumerate(waves, 1):
        later.since = datetime.now(UTC) + timedelta(hours=hours)
    for later in waves[:-1]:
        driver._died(later, "no memory")
    with pytest.raises(CircuitSweepError, match=f"{LOAD_DEATHS} times in a row, at last so: no memory"):
        driver._died(waves[-1], "no memory")


@dataclass
class FleetThatAnswers(FleetOnPaper):
    """Reports each shard that a replica was sent as committed, and then does something."""

    then: Callable[[], object] = lambda: None

    def collect(self, timeout: float) -> Iterator[tuple[Call, Any]]:
        for replica in list(self.replicas):
            while replica.shards:
                done = replica.shards.pop(0)
                yield Call("run", replica, done), ShardReport(len(done), graphs=len(done), shard=done.id)
        self.then()


def fail() -> None:
    raise CircuitSweepError("the disk is full")


@pytest.mark.parametrize(
    ("then", "raised"),
    [
        (lambda: None, None),
        (fail, CircuitSweepError),
        (lambda: signal.raise_signal(signal.SIGTERM), KeyboardInterrupt),
    ],
    ids=["finished", "failed", "interrupted"],
)
def test_every_commit_is_told_to_ray_however_a_run_ends(
    driver: Driver,
    monkeypatch: pytest.MonkeyPatch,
    then: Callable[[], object],
    raised: type[BaseException] | None,
) -> None:
    monkeypatch.setattr("pipeline.runtime.telemetry.metrics.TELL_SECONDS", 3600.0)
    told: list[float] = []
    monkeypatch.setattr(
        Tally, "tell", lambda tally: told.append(sum(tally._new.values())) or tally._new.clear()
    )
    driver.fleet = FleetThatAnswers(then=then)
    driver.shards, driver.looked, driver.seen_commit = [shard(1, 2), shard(3)], time.monotonic(), True
    replica(driver)
    replica(driver)
    with pytest.raises(raised) if raised else nullcontext():
        driver.run()
    assert driver.progress.graphs == sum(told) > 0
