"""Batches in pieces: the same sums, and fewer rows at once where memory is used up."""

from __future__ import annotations

import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.training import LayerGroup, TrainingState
from pipeline.training.recipe import TrainedLayer, sparsity
from tests.support.training import PlantedRows, batch_of, begin, dictionary, train

ACTIVATIONS = ("batchtopk", "topk", "jumprelu", "relu")


def planted() -> PlantedRows:
    return PlantedRows(directions=40, width=24, active=3, layers=2)


@pytest.mark.parametrize("kind", ["skip", "clt"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_pieces_of_a_batch_give_the_gradients_of_the_whole(kind, activation, monkeypatch):
    if (kind, activation) == ("clt", "topk"):
        pytest.skip("refused by the configuration")
    gradients, reports = {}, {}
    for piece in (None, 50, 1):  # 50 does not divide 128
        config = dictionary(kind=kind, activation=activation, dead_after=128, micro_batch=piece)
        group, rows = begin(config, planted())
        for layer in group.layers.values():
            layer.silent[::3] = 10_000  # dead, so that the auxiliary loss counts
        seen = gradients.setdefault(piece, {})
        with monkeypatch.context() as patch:
            patch.setattr(
                TrainedLayer,
                "update",
                lambda self, *_, seen=seen: seen.update(
                    {(id(self), n): t.grad.clone() for n, t in self.weights.named().items()}
                ),
            )
            reports[piece] = group.step(batch_of(rows, config, 0))
    for piece in (50, 1):
        for found, expected in zip(gradients[piece].values(), gradients[None].values(), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * float(expected.norm()))
        for found, expected in zip(reports[piece].layers, reports[None].layers, strict=True):
            assert (found.l0, found.dead) == (expected.l0, expected.dead)
            assert found.fvu == pytest.approx(expected.fvu, rel=1e-6)


def limited_memory(monkeypatch, entries: int) -> list[int]:
    """Let the matrix of pre-activations be refused where it has more entries; return the sizes asked for."""
    allocate, asked = sparsity._preactivations, []

    def refuse(weights, inputs):
        asked.append(len(inputs) * len(weights.encoder))
        if asked[-1] > entries:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB.")
        return allocate(weights, inputs)

    monkeypatch.setattr(sparsity, "_preactivations", refuse)
    return asked


def test_memory_that_is_used_up_halves_the_pieces_and_changes_nothing_else(monkeypatch, caplog, tmp_path):
    config = dictionary(kind="skip", dead_after=512)
    small, rows = begin(config.model_copy(update={"micro_batch": 32}), planted())
    train(small, rows)
    with monkeypatch.context() as patch, caplog.at_level("WARNING", "pipeline"):
        asked = limited_memory(patch, 40 * 64)
        group, rows = begin(config, planted())
        train(group, rows, until=20)
        assert asked[:3] == [128 * 64, 64 * 64, 32 * 64]
        assert sum(size > 40 * 64 for size in asked) == 2  # never tried again
    assert "32 tokens at a time" in caplog.text
    # Elsewhere there is memory enough, but the same bits are wanted.
    group.state().save(tmp_path / "state")
    group = LayerGroup.resume(config, TrainingState.load(tmp_path / "state"))
    train(group, rows)
    for name, tensor in group.state().tensors.items():
        assert torch.equal(tensor, small.state().tensors[name]), name
    assert group.state().info["micro_batch"] == 32


def test_memory_too_small_for_one_row_stops_with_the_state_kept(monkeypatch):
    config = dictionary()
    group, rows = begin(config, planted())
    train(group, rows, until=5)
    before = group.state()
    with monkeypatch.context() as patch:
        limited_memory(patch, 63)
        with pytest.raises(TrainingError, match="too small for step 5 even with micro_batch 1: the state"):
            group.step(batch_of(rows, config, 5))
    assert all(torch.equal(t, before.tensors[name]) for name, t in group.state().tensors.items())
    train(group, rows)


def test_another_error_is_not_taken_for_a_lack_of_memory(monkeypatch):
    group, rows = begin(dictionary(), planted())

    def fail(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("pipeline.training.recipe.sparsity._preactivations", fail)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        group.step(batch_of(rows, group.config, 0))
