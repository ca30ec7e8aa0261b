"""Training of the English model in a tiny setting: deterministic, it learns, and padding changes nothing."""

import pytest
import torch

from pipeline.english.model import ModelTraining, epoch_batches, new_model, padded, text_loss, train_model
from pipeline.english.tokenizer import BOS, EOS, PAD

TINY = ModelTraining(epochs=1, batch=4, warm_up=2)

TEXTS = [[BOS, *range(5 + n % 3, 9 + n % 7), EOS] for n in range(40)]


def test_a_seed_gives_the_same_weights_which_float16_holds() -> None:
    first, second = (train_model(TEXTS[:12], TINY, seed=0) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, one.half().float())


def test_a_few_epochs_lower_the_loss() -> None:
    trained = train_model(TEXTS, ModelTraining(epochs=3, batch=4, warm_up=2), seed=0)
    with torch.no_grad():
        before, after = (float(text_loss(model, TEXTS)) for model in (new_model(seed=0), trained))
    assert after < before - 2


def test_padding_changes_no_text() -> None:
    model, (short, *_, long) = new_model(seed=0), sorted(TEXTS, key=len)
    with torch.no_grad():
        together = text_loss(model, [short, long])
        alone = [float(text_loss(model, [text])) * (len(text) - 1) for text in (short, long)]
    assert float(together) == pytest.approx(sum(alone) / (len(short) + len(long) - 2), rel=1e-5)
    assert padded([short, long])[0].tolist() == short + [PAD] * (len(long) - len(short))


def test_an_epoch_reads_every_text_once_in_batches_of_like_length() -> None:
    lengths = torch.randint(5, 60, (1003,), generator=torch.Generator().manual_seed(1)).tolist()
    batches = list(epoch_batches(lengths, 10, torch.Generator().manual_seed(2)))
    seen = [row for batch in batches for row in batch]
    assert len(seen) == len(set(seen)) == 1000
    spread = [max(lengths[row] for row in batch) - min(lengths[row] for row in batch) for batch in batches]
    assert sum(spread) / len(spread) < 5
    assert [len(batch) for batch in batches] == [10] * 100
