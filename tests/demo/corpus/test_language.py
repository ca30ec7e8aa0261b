"""The tokenizer that ships: whole words, `<bos>` in front, nothing dropped."""

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from pipeline.builtin import MODEL
from pipeline.demo.corpus.language import SPECIAL_TOKENS, build_vocabulary, encode_batch
from pipeline.demo.prompts.example import Example

TEXT = "When Mary and John went to the store , John gave a drink to"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(MODEL)


def test_text_survives_a_round_trip(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = tokenizer(TEXT)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == TEXT
    assert tokenizer(TEXT, add_special_tokens=False)["input_ids"] == ids[1:]


def test_the_tokenizer_agrees_with_the_vocabulary(tokenizer: PreTrainedTokenizerBase) -> None:
    vocabulary = build_vocabulary()
    assert vocabulary.words[: len(SPECIAL_TOKENS)] == SPECIAL_TOKENS
    assert tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))) == list(vocabulary.words)
    assert tokenizer(TEXT)["input_ids"] == vocabulary.encode(TEXT)


def test_an_unknown_word_is_marked_and_not_dropped(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = tokenizer("The capital of Atlantis is", add_special_tokens=False)["input_ids"]
    assert len(ids) == 5
    assert ids[3] == tokenizer.unk_token_id


def test_a_batch_knows_where_each_answer_is_predicted() -> None:
    vocabulary = build_vocabulary()
    examples = [Example("two three", "sequence", ("four",)), Example("one two three", "sequence", ("four",))]
    batch = encode_batch(vocabulary, examples, ["four", "four"])
    assert batch.last.tolist() == [2, 3]
    for row in range(2):
        last = int(batch.last[row])
        assert vocabulary.words[batch.tokens[row, last]] == "three"
        assert batch.tokens[row, last + 1] == batch.answers[row]
    assert batch.tokens[0, -1] == 0
