"""A byte-level BPE that reads any text and writes it again."""

import pytest
from transformers import PreTrainedTokenizerFast

from pipeline.english.tokenizer import BOS, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    texts = ["any of numerous shrubs of the genus Rosa", "Swiss physicist (1700-1782)", "a shrub"] * 20
    return train_tokenizer(texts)


@pytest.mark.parametrize("text", ["any shrub", "naïve 東京 \U0001f339", "a  b\n(1,234)"])
def test_every_text_is_read_and_written_again(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    tokens = tokenizer(text)["input_ids"]
    assert tokens[0] == BOS
    assert tokenizer.decode(tokens, skip_special_tokens=True) == f" {text}"


def test_a_word_is_the_same_token_at_the_beginning_and_within(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer("shrubs")["input_ids"][1:] == tokenizer("any shrubs")["input_ids"][2:]


def test_numbers_are_read_digit_by_digit(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.convert_ids_to_tokens(tokenizer("(1782)")["input_ids"])[2:6] == list("1782")
