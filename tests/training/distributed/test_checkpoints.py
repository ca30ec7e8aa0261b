"""Checkpoints count whole or not at all, on a disk and on S3."""

from __future__ import annotations

import pytest
import torch

from pipeline.errors import DamageError
from pipeline.store import open_folder
from pipeline.training.distributed.checkpoints import KEPT, Checkpoints, Marker
from tests.support.stores import STORES, place

STEPS = 100
INFO = {"step": 3, "layers": {"0": {"cut": 0.1}}}


@pytest.fixture(params=STORES)
def checkpoints(request: pytest.FixtureRequest) -> Checkpoints:
    return Checkpoints(open_folder(place(request)), "layers-000-003")


def tensors(step: int) -> dict[str, torch.Tensor]:
    return {"0.weights.encoder": torch.full((3, 2), float(step)), "0.silent": torch.tensor([step, 0])}


def save(checkpoints: Checkpoints, step: int | None, before_decay: bool = False) -> bool:
    shard = checkpoints.write_shard(STEPS, step, 0, tensors(step or 0), INFO)
    return checkpoints.commit(STEPS, step, [shard], before_decay=before_decay)


def another(checkpoints: Checkpoints) -> Checkpoints:
    return Checkpoints(checkpoints.folder, checkpoints.unit)


def last(checkpoints: Checkpoints) -> Marker:
    return checkpoints.markers()[0]


def test_what_is_read_is_what_was_written(checkpoints: Checkpoints) -> None:
    assert checkpoints.saved() == 0
    assert save(checkpoints, 30)
    assert another(checkpoints).saved() == 30
    found, info = checkpoints.read(last(checkpoints), 0)
    assert info == INFO
    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in tensors(30).items()
    }


def test_a_file_without_a_marker_is_never_read_and_is_an_orphan(checkpoints: Checkpoints) -> None:
    save(checkpoints, 30)
    lost = checkpoints.write_shard(STEPS, 60, 0, tensors(60), INFO)  # and then it died
    assert (last(checkpoints).step, checkpoints.saved()) == (30, 30)
    assert checkpoints.orphans() == [lost.name]


def test_the_first_attempt_wins_and_the_others_files_are_orphans(checkpoints: Checkpoints) -> None:
    assert save(checkpoints, 30)
    second = another(checkpoints)
    assert not save(second, 30)
    assert last(second).attempt == checkpoints.attempt
    assert all(second.attempt in name for name in second.orphans())
    # Its own first try, whose answer was lost.
    assert checkpoints.commit(STEPS, 30, list(last(checkpoints).shards))


def test_the_same_step_of_a_longer_training_is_another_checkpoint(checkpoints: Checkpoints) -> None:
    save(checkpoints, 30)
    shard = checkpoints.write_shard(2 * STEPS, 30, 0, tensors(31), INFO)
    assert checkpoints.commit(2 * STEPS, 30, [shard])
    assert len(checkpoints.markers()) == 2


@pytest.mark.parametrize("change", ["flip", "cut", "gone"])
def test_a_changed_file_is_found(checkpoints: Checkpoints, change: str) -> None:
    save(checkpoints, 30)
    marker = last(checkpoints)
    name = marker.shards[0].name
    data = bytearray(checkpoints.folder.read(name))
    data[-3] ^= 1
    match change:
        case "flip":
            checkpoints.folder.replace(name, bytes(data))
        case "cut":
            checkpoints.folder.replace(name, bytes(data[:-1]))
        case "gone":
            checkpoints.folder.delete([name])
    with pytest.raises(DamageError):
        checkpoints.read(marker, 0)


def test_the_last_ones_stay_and_the_one_before_the_decay(checkpoints: Checkpoints) -> None:
    for step in (10, 20, 30, 40, 50):
        save(checkpoints, step, before_decay=step == 20)
    save(checkpoints, None)
    checkpoints.delete_old(STEPS)
    assert [one.step for one in checkpoints.markers()] == [None, 50, 40, 20]
    assert checkpoints.orphans() == []
    assert KEPT == 2
