"""A training on a store that answers 500, half, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runtime import Member
from pipeline.store import open_folder
from pipeline.training.distributed.assembly import assemble
from pipeline.training.distributed.checkpoints import Checkpoints
from pipeline.training.distributed.layout import state_url
from pipeline.training.distributed.unit_training import UnitTraining
from pipeline.training.distributed.verify import verify_training
from pipeline.training.layer_group import LayerGroup
from pipeline.transcoders import load_transcoders
from tests.support.s3_proxy import KINDS, Faults
from tests.support.tiny_training import (
    EVERY,
    RESOURCES,
    STEPS,
    exported,
    go_on,
    make_files,
    prepare,
    same_bits,
    saved,
    tiny_dictionary,
)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UnitTraining, "is_due", lambda self, step: step % EVERY == 0 and step > 0)


def stop_at(step: int, patch: pytest.MonkeyPatch) -> Member:
    """A member that is told to stop while it takes a step."""
    member, original = Member(RESOURCES, 0, 1, 0), LayerGroup.step

    def watched(group: LayerGroup, rows: object) -> object:
        if group.step_number == step:
            member.stop.set()
        return original(group, rows)

    patch.setattr(LayerGroup, "step", watched)
    return member


@pytest.mark.usefixtures("often")
def test_a_store_that_fails_in_all_ways_costs_nothing_but_time(
    faulty: tuple[str, Faults], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_files(tmp_path)
    plain = tiny_dictionary(tmp_path, tmp_path / "plain")
    (unit,) = prepare(plain)
    go_on(plain, unit)

    url, faults = faulty
    config = tiny_dictionary(tmp_path, url)
    faults.follow(rate=0.15, seed=3)
    assert prepare(config) == [unit]
    for step in (3, 17, 30):
        with monkeypatch.context() as patch:
            go_on(config, unit, stop_at(step, patch))
        assert saved(config, unit) == step + 1
    training = go_on(config, unit)
    assemble(training.folder, config, [unit], Member(RESOURCES, 0, 1, 0))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert load_transcoders(url).n_layers == 4
    done = faults.done()
    assert all(done.get(kind) for kind in KINDS), f"a fault of each kind was met: {done}"
    faults.follow()

    assert same_bits(exported(config, unit), exported(plain, unit))
    state = open_folder(state_url(url))
    state.delete(
        Checkpoints(state, unit.name).orphans()
    )  # as the next driver does, of answers that were lost
    check = verify_training(url)
    assert (check.problems, check.orphans) == ([], [])
    assert saved(config, unit) == STEPS
