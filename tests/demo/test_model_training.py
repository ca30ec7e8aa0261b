"""Training of the model in a tiny setting: deterministic, and it learns."""

import pytest
import torch

from pipeline.demo.corpus.corpus import Corpus, repeat_mask
from pipeline.demo.model_training import ModelTraining, batch_loss, new_model, train_model

TINY = ModelTraining(steps=2, batch=16, repeats=4)


def test_a_seed_gives_the_same_weights() -> None:
    first, second = (train_model(Corpus(0), TINY, seed=0).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_gives_other_weights() -> None:
    first, second = (train_model(Corpus(seed), TINY, seed=seed) for seed in (0, 1))
    assert not torch.equal(first.lm_head.weight, second.lm_head.weight)


def test_a_few_steps_lower_the_loss() -> None:
    training = ModelTraining(steps=12, batch=64, repeats=8, warm_up=2)
    batch, _ = Corpus(5).batches(64)
    untrained, trained = new_model(1300, seed=0), train_model(Corpus(0), training, seed=0)
    with torch.no_grad():
        before, after = (float(batch_loss(model, batch, training)) for model in (untrained, trained))
    assert after < before - 0.5


def test_trained_weights_are_what_float16_holds() -> None:
    model = train_model(Corpus(0), TINY, seed=0)
    assert all(torch.equal(p, p.half().float()) for p in model.parameters())


@pytest.mark.parametrize("step", [0, 50, 99, 100, 300, 519])
def test_the_learning_rate_rises_then_falls(step: int) -> None:
    rate, after = (ModelTraining().rate(each, 520) for each in (step, step + 1))
    assert 0 < rate <= 1
    if step in (0, 50):
        assert rate < after
    if step in (100, 300):
        assert rate > after


def test_only_the_repeat_is_scored() -> None:
    corpus = Corpus(0)
    batch = corpus.repeats(20)
    mask = repeat_mask(batch)
    for tokens, last, scored in zip(batch.tokens.tolist(), batch.last.tolist(), mask, strict=True):
        length = (last + 1) // 2
        assert tokens[1 : length + 1] == tokens[length + 1 : last + 2]
        assert scored.nonzero().flatten().tolist() == list(range(length + 1, last + 1))
