"""A cross-layer transcoder in two processes that share its features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.store import open_folder
from pipeline.training.config import DictionaryConfig
from pipeline.training.distributed.checkpoints import Checkpoints
from pipeline.training.distributed.layout import state_url
from tests.support.tiny_training import EVERY, exported, prepare, run_gang, same_bits, saved, tiny_dictionary

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def train(files: Path, output: Path, shards: int) -> DictionaryConfig:
    config = tiny_dictionary(files, output, kind="clt", shards=shards)
    (unit,) = prepare(config)
    assert run_gang(config, unit) == [0] * shards
    return config


@pytest.fixture(scope="module")
def undisturbed(files: Path, tmp_path_factory: pytest.TempPathFactory) -> DictionaryConfig:
    return train(files, tmp_path_factory.mktemp("gang") / "out", 2)


def test_a_member_that_is_killed_ends_the_gang_which_goes_on_to_the_same_bits(
    files: Path, tmp_path: Path, undisturbed: DictionaryConfig
) -> None:
    config = tiny_dictionary(files, tmp_path / "out", kind="clt", shards=2)
    (unit,) = prepare(config)
    for step in (5, 17, 33):
        first, second = run_gang(config, unit, die_at=step)
        assert second == -9
        assert first not in (0, None), "the other notices"
        kept = saved(config, unit)
        assert step - 2 * EVERY <= kept <= step
    assert run_gang(config, unit) == [0, 0]
    assert same_bits(exported(config, unit), exported(undisturbed, unit))


def test_every_process_has_features_of_its_own_and_both_have_what_one_has(
    files: Path, tmp_path: Path, undisturbed: DictionaryConfig
) -> None:
    (unit,) = prepare(undisturbed)
    first, second = exported(undisturbed, unit)
    assert first["0.encoder"].shape == second["0.encoder"].shape == (16, 16)
    assert not torch.equal(first["0.encoder"], second["0.encoder"])
    alone = train(files, tmp_path / "alone", 1)
    (unit_alone,) = prepare(alone)
    (whole,) = exported(alone, unit_alone)
    joined = torch.cat([first["0.encoder"], second["0.encoder"]])
    # Sums in another order round otherwise, and steps of Adam carry that on.
    assert torch.nn.functional.cosine_similarity(joined.flatten(), whole["0.encoder"].flatten(), 0) > 0.999
    losses = [mean_losses(config) for config in (undisturbed, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


def mean_losses(config: DictionaryConfig) -> list[float]:
    """Each layer's mean loss at the end, as the first process's state has it."""
    checkpoints = Checkpoints(open_folder(state_url(config.output)), "layers-000-003")
    last = next(marker for marker in checkpoints.markers() if marker.step is not None)
    _, info = checkpoints.read(last, 0)
    return [layer["mean_loss"] for layer in info["layers"].values()]
