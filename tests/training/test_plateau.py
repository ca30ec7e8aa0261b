"""A layer that has stopped improving ends early: each by itself, the same wherever it was stopped."""

from __future__ import annotations

import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.training import GroupTraining, LayerGroup, TrainingFacts
from pipeline.training.recipe import Schedule
from tests.support.training import dictionary


def measured(*fvu: float, every: int = 4) -> list[tuple[int, float]]:
    return [(100 + every * number, value) for number, value in enumerate(fvu)]


def test_a_tenth_of_the_training_that_gains_too_little_is_a_plateau():
    schedule = Schedule.of(dictionary(steps=400))
    falling = [0.9 * 0.99**number for number in range(30)]
    flat = [*falling[:12], *[falling[11] * 0.9999**number for number in range(20)]]
    assert schedule.decay_of(measured(*falling)) == schedule.decay_from == 320
    # From number 12 on nothing falls: ten measurements later that is known.
    assert schedule.decay_of(measured(*flat)) == 100 + 4 * 21
    noisy = [value * (1.02 if number % 2 else 1) for number, value in enumerate(falling)]
    assert schedule.decay_of(measured(*noisy)) == 320  # the best of ten counts, not the last
    just = [0.5, *[0.5 * (1 - 0.0051)] * 10]
    assert schedule.decay_of(measured(*just)) == 320
    assert schedule.decay_of(measured(0.5, *[0.5 * (1 - 0.0049)] * 10)) == 140


def test_what_comes_after_a_plateau_does_not_move_it():
    schedule = Schedule.of(dictionary(steps=400))
    flat = [0.5] * 11
    assert schedule.decay_of(measured(*flat)) == schedule.decay_of(measured(*flat, 0.3, 0.1))


def test_the_decay_is_as_long_as_it_would_have_been():
    schedule = Schedule.of(dictionary(steps=400))
    early = [schedule.rate(step, 140) for step in range(140, schedule.end_of(140))]
    late = [schedule.rate(step, 320) for step in range(320, 400)]
    assert early == pytest.approx(late)
    assert len(early) == 80


@pytest.fixture
def flat_early(monkeypatch):
    """A layer counts as flat unless a tenth of the training improves it by a twelfth."""
    monkeypatch.setattr("pipeline.training.recipe.schedule.LEAST_GAIN", 0.08)


def finish(training: GroupTraining, until: int | None = None) -> GroupTraining:
    while not training.done and training.group.step_number != until:
        training.step()
    return training


def test_each_layer_ends_by_itself_to_the_same_bits_alone_together_and_stopped(train_tiny, flat_early):
    trained = train_tiny(kind="skip", steps=200, stop_at_plateau=True)
    config, model, tokens = trained.config, trained.model, trained.tokens
    together = trained.training.state()
    steps = [together.steps_of(layer) for layer in (0, 1)]
    assert all(step < 200 for step in steps)
    assert steps[0] != steps[1]
    for layer in (0, 1):
        alone = finish(GroupTraining.begin(config, model, tokens, range(layer, layer + 1))).state()
        for name, tensor in alone.tensors.items():
            assert torch.equal(tensor, together.tensors[name]), name
        assert alone.info["layers"][str(layer)] == together.info["layers"][str(layer)]
    stopped = GroupTraining.begin(config, model, tokens, range(2))
    for until in (101, 113, min(steps) - 3, min(steps) + 1):
        stopped = GroupTraining.resume(config, model, tokens, finish(stopped, until).state())
    state = finish(stopped).state()
    assert all(torch.equal(tensor, together.tensors[name]) for name, tensor in state.tensors.items())
    facts = TrainingFacts.of([together], 1.0)
    assert [layer.tokens for layer in facts.layers] == [step * config.batch_size for step in steps]
    assert facts.tokens == max(steps) * config.batch_size


def test_a_cross_layer_dictionary_ends_as_a_whole(train_tiny, flat_early):
    trained = train_tiny(kind="clt", steps=200, stop_at_plateau=True)
    state = trained.training.state()
    assert state.steps_of(0) == state.steps_of(1) < 200


def test_watching_changes_nothing_where_no_plateau_is_found(train_tiny):
    with_watch = train_tiny(kind="skip", steps=40, stop_at_plateau=True).training.state()
    without = train_tiny(kind="skip", steps=40).training.state()
    assert with_watch.info["layers"]["0"]["held_out"]
    assert all(torch.equal(tensor, without.tensors[name]) for name, tensor in with_watch.tensors.items())


def test_more_tokens_go_on_from_before_the_first_plateau_only(train_tiny, flat_early):
    trained = train_tiny(kind="skip", steps=200, stop_at_plateau=True)
    config, model, tokens = trained.config, trained.model, trained.tokens
    training = GroupTraining.begin(config, model, tokens, range(2))
    while not (training.group.is_before_decay and training.group.step_number < 160):
        training.step()
    before = training.state()
    longer = config.model_copy(update={"tokens": 2 * config.tokens, "stop_at_plateau": False})
    one_long = finish(GroupTraining.resume(longer, model, tokens, before))
    assert one_long.group.step_number == 400
    training.step()
    with pytest.raises(TrainingError, match=rf"go on from one of step {before.info['step']} or before"):
        LayerGroup.resume(longer, training.state())
