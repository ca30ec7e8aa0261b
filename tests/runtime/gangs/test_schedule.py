"""What becomes of units whose gangs end."""

from __future__ import annotations

from collections import deque

import pytest

from pipeline.errors import ModelError, StoreError
from pipeline.runtime.gangs.schedule import TRIES, GangSchedule
from pipeline.runtime.gangs.work import Unit
from pipeline.runtime.shards import StageError

A, B, LARGE = Unit("a"), Unit("b"), Unit("large", members=4)


def schedule(*units: Unit) -> GangSchedule:
    return GangSchedule(deque(units))


def test_a_gang_that_finds_no_room_lets_smaller_ones_pass() -> None:
    waiting = schedule(LARGE, A, B)
    assert waiting.next(2) == A
    assert waiting.next(1) == B
    assert waiting.next(3) is None
    assert waiting.next(4) == LARGE


def test_a_unit_that_is_to_rest_is_passed_over() -> None:
    waiting = schedule(A, B)
    assert waiting.next(1, resting=[A]) == B
    assert waiting.next(1) == A


def test_a_unit_waits_for_those_before_it_and_in_vain_for_one_that_was_given_up() -> None:
    last = Unit("last", after=("a", "b"))
    waiting = schedule(last, A, B)
    assert waiting.next(1) == A
    waiting.finished(A)
    assert waiting.next(1) == B
    assert waiting.next(1) is None
    assert waiting.has_work
    waiting.raised(B, 0, StageError("step", ValueError("no")))
    assert not waiting.has_work
    waiting.failed.clear()
    waiting.finished(B)
    assert waiting.next(1) == last


def test_a_unit_that_dies_and_gets_on_is_never_given_up() -> None:
    one = schedule(A)
    for saved in range(3 * TRIES):
        assert one.next(1) == A
        one.died(A, saved, "killed")
    assert one.failed == {}
    assert one.deaths == 3 * TRIES


def test_a_unit_that_dies_before_it_keeps_anything_is_given_up() -> None:
    one = schedule(A, B)
    for _ in range(TRIES):
        unit = one.next(1)
        assert unit == A
        one.died(A, 7, "killed")
    assert one.next(1) == B
    assert "5 times in a row" in one.failed["a"]
    assert "killed" in one.failed["a"]


def test_a_machine_that_is_taken_away_is_nobodys_fault() -> None:
    one = schedule(A)
    for _ in range(3 * TRIES):
        assert one.next(1) == A
        one.died(A, 0, "gone", at_fault=False)
    assert one.failed == {}


def test_what_is_hopeless_is_given_up_at_once_and_others_go_on() -> None:
    one = schedule(A, B)
    assert one.next(1) == A
    one.raised(A, 100, StageError("step", ValueError("not a number")))
    assert one.failed == {"a": "not a number"}
    assert one.next(1) == B


def test_a_store_that_fails_is_tried_again_and_then_ends_the_run() -> None:
    one = schedule(A)
    for _ in range(TRIES - 1):
        assert one.next(1) == A
        one.raised(A, 0, StoreError("full"))
    assert one.next(1) == A
    with pytest.raises(StoreError, match="full"):
        one.raised(A, 0, StoreError("full"))


def test_what_no_other_could_do_either_ends_the_run() -> None:
    with pytest.raises(ModelError):
        schedule(A).raised(A, 0, ModelError("no such model"))
