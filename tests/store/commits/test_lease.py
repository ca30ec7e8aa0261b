"""One driver at a time, with real processes: refused, taken over, given back."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.errors import StoreError
from pipeline.store.commits.lease import Holder, Pace, hold
from pipeline.store.layout import DRIVER, UPKEEP
from pipeline.store.output import Output
from pipeline.store.verify import repair

FAST = Pace(beat=0.2, stale=1.5, settle=0.1)


def hold_until_told(url: str, held, end) -> None:
    """What another process does: holds the output until it is told to end, or killed."""
    with hold(Output(url).folder, FAST):
        held.set()
        end.wait(60)


@pytest.fixture
def other(output: Output):
    """Another process that holds the output, and what tells it to end."""
    spawn = multiprocessing.get_context("spawn")
    held, end = spawn.Event(), spawn.Event()
    process = spawn.Process(target=hold_until_told, args=(output.url, held, end))
    process.start()
    assert held.wait(60)
    yield process, end
    process.kill()
    process.join()


def change(output: Output, **values: Any) -> None:
    """Write the lease as if another had."""
    holder = json.loads(output.folder.read(DRIVER)) | values
    output.folder.replace(DRIVER, json.dumps(holder, default=str).encode())


def test_a_second_process_is_refused_until_the_first_ends(output: Output, other) -> None:
    process, end = other
    who = rf"by process {process.pid} on {socket.gethostname()} since \d{{4}}-\d\d-\d\d \d\d:"
    for _ in range(2):  # the second time after it would have gone stale without beats
        with pytest.raises(StoreError, match=who), hold(output.folder, FAST):
            pass
        time.sleep(FAST.stale)
    end.set()
    process.join(60)
    assert not output.folder.exists(DRIVER)
    with hold(output.folder, FAST) as lease:
        lease.check()


@pytest.mark.timeout(40)
def test_a_killed_process_of_this_machine_is_followed_at_once(output: Output, other) -> None:
    process, _ = other
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with hold(output.folder, Pace(settle=0.1)) as lease:  # another pace would wait a minute
        lease.check()
    assert not output.folder.exists(DRIVER)


def test_a_silent_process_of_another_machine_is_followed_once_it_is_stale(output: Output) -> None:
    started = time.monotonic()  # with its beat: a store may take longer to write it than it takes to be stale
    elsewhere = Holder.here().model_copy(update={"host": "elsewhere"})
    output.folder.create(DRIVER, elsewhere.model_dump_json().encode())
    with hold(output.folder, FAST):
        assert time.monotonic() - started > FAST.stale / 2
        assert Holder.model_validate_json(output.folder.read(DRIVER)).host == socket.gethostname()
    assert not output.folder.exists(DRIVER)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_living_driver_keeps_its_lease_whatever_its_clock_says(output: Output, hours: int) -> None:
    """Neither a clock that goes wrong nor a hostname that two machines share makes a beating driver dead."""
    clone = Holder.here().model_copy(update={"processes": "another start pid:[4026531836]", "pid": 2**22})
    output.folder.create(DRIVER, clone.model_dump_json().encode())
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(FAST.beat):
            change(output, beat=datetime.now(UTC) + timedelta(hours=hours))

    other = threading.Thread(target=beat)
    other.start()
    try:
        for _ in range(3):
            with pytest.raises(StoreError, match=f"by process {2**22} on"), hold(output.folder, FAST):
                pass
    finally:
        ended.set()
        other.join()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_dead_driver_is_followed_after_a_minute_whatever_its_clock_said(
    output: Output, hours: int, caplog: pytest.LogCaptureFixture
) -> None:
    beat = datetime.now(UTC) + timedelta(hours=hours)
    elsewhere = Holder.here().model_copy(update={"host": "elsewhere", "beat": beat})
    output.folder.create(DRIVER, elsewhere.model_dump_json().encode())
    started = time.monotonic()
    with hold(output.folder, FAST) as lease:
        assert FAST.stale <= time.monotonic() - started < 20 * FAST.stale
        lease.check()
    assert "elsewhere" in caplog.text  # a start that waits says so
    assert "waiting" in caplog.text


def test_a_process_of_this_machine_that_lives_is_believed_after_the_clock_was_set(
    output: Output, other
) -> None:
    change(output, beat=datetime.now(UTC) - timedelta(hours=1))  # until its next beat
    with pytest.raises(StoreError), hold(output.folder, FAST):
        pass


def test_a_compaction_and_a_run_go_on_side_by_side_and_a_repair_does_not(output: Output) -> None:
    output.claim({}, 1)
    with output.hold(), output.hold_upkeep():
        pass
    for held in (output.hold, output.hold_upkeep):
        with held(), pytest.raises(StoreError, match=f"by process {os.getpid()} on"):
            repair(output.url)
    with output.hold_upkeep():
        for upkeep in (output.compact, output.vacuum):
            with pytest.raises(StoreError, match="compacted or repaired"):
                upkeep()
    assert not output.folder.exists(UPKEEP)
    assert repair(output.url) == []


def test_a_lease_that_was_lost_in_a_sleep_is_noticed_before_the_next_beat(output: Output) -> None:
    with hold(output.folder, Pace(beat=3600)) as lease:
        change(output, token="another", host="elsewhere", pid=4711)
        with pytest.raises(StoreError, match="taken over by process 4711 on elsewhere"):
            lease.confirm()


def test_an_interruption_gives_the_lease_back(output: Output) -> None:
    with pytest.raises(KeyboardInterrupt), hold(output.folder, FAST):
        raise KeyboardInterrupt
    assert not output.folder.exists(DRIVER)


def test_who_was_taken_over_notices_and_leaves_the_lease_alone(output: Output) -> None:
    with hold(output.folder, FAST) as lease:
        change(output, token="another", host="elsewhere", pid=4711)
        time.sleep(5 * FAST.beat)
        with pytest.raises(StoreError, match="taken over by process 4711 on elsewhere"):
            lease.check()
    assert output.folder.exists(DRIVER)
