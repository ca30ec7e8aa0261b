"""The schedule by itself: single rules, and random histories of workers that come, work, die and leave."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import CircuitSweepError
from pipeline.runtime.shards.schedule import AHEAD, DEATHS, ERRORS, LOAD_DEATHS, SHARDS_HELD, ShardSchedule
from pipeline.runtime.shards.shard import Item, Shard

RUN = 7


def shard(*keys: int) -> Shard:
    return Shard(tuple(Item(key=key, id=f"q{key}") for key in keys), (), RUN)


def keys(one: Shard) -> list[int]:
    return [item.key for item in one.items]


def schedule_of(*shards: Shard, workers: str = "a") -> ShardSchedule[str]:
    schedule: ShardSchedule[str] = ShardSchedule()
    for one in shards:
        schedule.add(one)
    for worker in workers:
        schedule.started(worker)
        schedule.joined(worker)
    return schedule


def given_to(schedule: ShardSchedule[str]) -> list[tuple[str, list[int]]]:
    return [(worker, keys(one)) for worker, one in schedule.orders().give]


def test_every_worker_has_a_first_shard_before_one_has_a_second() -> None:
    schedule = schedule_of(*map(shard, range(5)), workers="ab")
    assert given_to(schedule) == [("a", [0]), ("b", [1]), ("a", [2]), ("b", [3])]
    assert given_to(schedule) == []
    schedule.started("loads")
    schedule.reported("a", schedule.holds("a")[0], 1, committed=True)
    assert given_to(schedule) == []  # the last is kept for the worker that loads
    schedule.joined("loads")
    assert given_to(schedule) == [("loads", [4])]


def test_shards_are_made_a_few_ahead() -> None:
    schedule = schedule_of()
    for _ in range(3 * AHEAD):
        assert schedule.wants_shards(3)
        schedule.add(shard(1))
    assert not schedule.wants_shards(3)
    assert not schedule_of(*[shard(1)] * AHEAD).wants_shards(0)


def test_workers_are_wanted_while_there_is_work_for_them() -> None:
    schedule = schedule_of(shard(1), shard(2), workers="")
    assert schedule.wants_workers(5)
    schedule.started("a")
    assert not schedule.wants_workers(1)
    schedule.started("b")
    assert not schedule.wants_workers(5)
    schedule.leaving("b")
    assert schedule.wants_workers(5)


def test_what_was_committed_in_part_goes_on_under_another_id() -> None:
    whole = shard(1, 2, 3)
    schedule = schedule_of(whole)
    schedule.orders()
    assert schedule.reported("a", whole, 1, committed=True) == whole.id
    (left,) = schedule.ready
    assert keys(left) == [2, 3]
    assert left.id != whole.id


def test_a_shard_of_nothing_but_rejected_items_is_not_lost_with_its_worker() -> None:
    rejected = replace(shard(), rejected=(shard(1).items[0].failed(RUN, "tokenize", ValueError("no")),))
    schedule = schedule_of(rejected)
    schedule.orders()
    assert schedule.reported("a", rejected, 0, committed=False) is None
    assert list(schedule.ready) == [rejected]


def test_a_shard_that_cannot_be_written_goes_last_and_is_given_up_in_the_end() -> None:
    schedule = schedule_of(shard(1), shard(2))
    for error in range(1, ERRORS + 1):
        while True:
            first = schedule.orders().give[0][1] if not schedule.holds("a") else schedule.holds("a")[0]
            if keys(first) == [1]:
                break
            schedule.reported("a", first, 1, committed=True)
        assert schedule.raised("a", first) == (error < ERRORS)


def test_a_suspect_that_could_not_be_written_stays_one() -> None:
    schedule = schedule_of(shard(1, 2), workers="ab")
    schedule.orders()
    schedule.died("a", "killed")
    schedule.answered("b", schedule.deaths)
    ((worker, suspect),) = schedule.orders().give
    schedule.raised(worker, suspect)
    assert (not schedule.ready, schedule.suspects[0].errors) == (True, 1)


def test_a_suspect_goes_to_a_worker_that_answered_since_the_last_death_and_has_it_alone() -> None:
    schedule = schedule_of(*map(shard, range(6)), workers="ab")
    schedule.orders()
    blamed = schedule.holds("b")
    schedule.died("b", "killed")
    for held in schedule.holds("a"):
        schedule.reported("a", held, 1, committed=True)
    orders = schedule.orders()
    assert (orders.give, orders.ask) == ((), ("a",))
    schedule.answered("a", schedule.deaths - 1)  # asked before the death was noticed
    assert schedule.orders().give == ()
    schedule.answered("a", schedule.deaths)
    ((_, suspect),) = schedule.orders().give
    assert keys(suspect) in [keys(one) for one in blamed]
    assert schedule.orders().give == ()


def test_a_machine_that_is_taken_away_is_held_against_nobody() -> None:
    schedule = schedule_of(shard(1, 2))
    schedule.orders()
    death = schedule.died("a", "preempted", at_fault=False)
    assert list(schedule.ready) == list(death.held) == [shard(1, 2)]


def test_an_item_that_kills_is_found_in_a_few_deaths_and_its_neighbours_are_not_blamed() -> None:
    schedule = schedule_of(shard(*range(32)), workers="")
    done, deaths = [], 0
    while schedule.has_work:
        schedule.started(f"w{deaths}")
        schedule.joined(f"w{deaths}")
        schedule.answered(f"w{deaths}", schedule.deaths)
        while True:
            ((worker, one),) = schedule.orders().give or (("", None),)
            if one is None or 13 in keys(one):
                break
            done += keys(one)
            schedule.reported(worker, one, len(one.items), committed=True)
        if one is not None:
            deaths += 1
            for given_up in schedule.died(worker, "killed").given_up:
                assert keys(given_up) == [13]
                done += keys(given_up)
    assert sorted(done) == list(range(32))
    assert deaths <= 9


def test_workers_that_load_beside_each_other_and_die_count_once() -> None:
    schedule = schedule_of(workers="")
    together = [f"beside {number}" for number in range(2 * LOAD_DEATHS)]
    for worker in together:
        schedule.started(worker)
    assert [schedule.died(worker, "gone").load_wave for worker in together] == [1] + [0] * (len(together) - 1)
    for wave in range(2, LOAD_DEATHS):
        schedule.started("later")
        assert schedule.died("later", "no memory").load_wave == wave
    schedule.started("last")
    with pytest.raises(CircuitSweepError, match="no memory"):
        schedule.died("last", "no memory")


def test_a_worker_that_loads_ends_the_count() -> None:
    schedule = schedule_of(workers="")
    for _ in range(3):
        for _ in range(LOAD_DEATHS - 1):
            schedule.started("dies")
            schedule.died("dies", "no memory")
        schedule.started("loads")
        schedule.joined("loads")
        schedule.died("loads", "other", at_fault=False)


@dataclass
class World:
    """Workers and items that do what chance says; the schedule sees only what a driver would tell it."""

    chance: random.Random
    killers: set[int]
    left: list[Shard]
    schedule: ShardSchedule[int] = field(default_factory=ShardSchedule)
    loaded: list[int] = field(default_factory=list)
    loading: list[int] = field(default_factory=list)
    ends: Counter[int] = field(default_factory=Counter)
    """How often each item was committed, with rows or as a failure."""

    given_up: set[int] = field(default_factory=set)
    deaths: int = 0
    disturbances: int = 40
    """What may still go wrong for no reason of the items."""

    started: int = 0

    def run(self) -> None:
        """Let time pass until all is done."""
        for _ in range(3000):
            if not self.left and not self.schedule.has_work:
                return
            self.step()
        raise AssertionError("it does not come to an end")

    def step(self) -> None:
        if self.left and self.schedule.wants_shards(2):
            self.schedule.add(self.left.pop())
        if self.schedule.wants_workers(3):
            self.started += 1
            self.schedule.started(self.started)
            self.loading.append(self.started)
        orders = self.schedule.orders()
        for worker in orders.ask:
            self.schedule.answered(worker, self.schedule.deaths)
        for worker in (*self.loaded, *self.loading):
            assert len(self.schedule.holds(worker)) <= SHARDS_HELD
            if any(one.suspect for one in self.schedule.holds(worker)):
                assert len(self.schedule.holds(worker)) == 1
        happening = self.chance.choice(["work"] * 6 + ["join"] * 3 + ["leave", "preempt", "error"])
        if happening == "join" and self.loading:
            worker = self.loading.pop(0)
            self.schedule.joined(worker)
            self.loaded.append(worker)
        elif happening == "work":
            self.work()
        elif self.disturbances and self.loaded:
            self.disturbances -= 1
            self.disturb(happening, self.chance.choice(self.loaded))

    def work(self) -> None:
        busy = [worker for worker in self.loaded if self.schedule.holds(worker)]
        if not busy:
            return
        worker = self.chance.choice(busy)
        one = self.schedule.holds(worker)[0]
        if self.killers & {item.key for held in self.schedule.holds(worker) for item in held.items}:
            self.die(worker, at_fault=True)
            return
        self.commit(keys(one))
        assert self.schedule.reported(worker, one, len(one.items), committed=True) is None
        self.let_go(worker)

    def disturb(self, what: str, worker: int) -> None:
        held = self.schedule.holds(worker)
        if what == "preempt":
            self.die(worker, at_fault=False)
        elif what == "error" and held and held[0].errors + 1 < ERRORS:
            assert self.schedule.raised(worker, held[0])
            self.let_go(worker)
        elif what == "leave":
            self.schedule.leaving(worker)
            for one in held:
                safe = next(
                    (n for n, item in enumerate(one.items) if item.key in self.killers), len(one.items)
                )
                done = self.chance.randint(0, safe)
                self.commit(keys(one)[:done])
                self.schedule.reported(worker, one, done, committed=done > 0)
            self.let_go(worker)

    def die(self, worker: int, at_fault: bool) -> None:
        self.loaded.remove(worker)
        self.deaths += at_fault
        for one in self.schedule.died(worker, "killed", at_fault=at_fault).given_up:
            self.given_up |= set(keys(one))
            self.commit(keys(one))

    def commit(self, committed: list[int]) -> None:
        self.ends.update(committed)

    def let_go(self, worker: int) -> None:
        if self.schedule.may_go(worker):
            self.schedule.left(worker)
            self.loaded.remove(worker)


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=6),
    killers=st.sets(st.integers(0, 20), max_size=3),
    seed=st.integers(0, 2**32),
)
def test_every_item_ends_exactly_once_and_no_innocent_one_is_given_up(
    sizes: list[int], killers: set[int], seed: int
) -> None:
    items = iter(range(sum(sizes)))
    shards = [shard(*(next(items) for _ in range(size))) for size in sizes]
    killers = {key for key in killers if key < sum(sizes)}
    world = World(random.Random(seed), killers, shards)
    world.run()
    assert world.ends == Counter(range(sum(sizes)))
    assert world.given_up == killers
    # Halving a shard takes its logarithm in deaths, and one more for each neighbour under suspicion.
    assert world.deaths <= DEATHS * 6 * max(1, len(killers)) + DEATHS
