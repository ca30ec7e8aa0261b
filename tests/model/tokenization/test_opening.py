"""The token in front of a prompt: the tokenizer's own, none, a named one, or circuit-tracer's rule."""

from __future__ import annotations

import logging

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from pipeline.errors import ConfigurationError
from pipeline.model.tokenization.opening import opening_tokens, special_ids, tokenizers_own
from pipeline.model.tokenization.tokens import TracedTokens, ensure_tokenized, tokenize_all

WORDS = ["<s>", "<end>", "<start>", "<sop>", "a", "b"]


def words(front: str = "", **named: str) -> PreTrainedTokenizerFast:
    """A vocabulary of words whose first four are special; `front` is what it puts before a text by itself."""
    level = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="b"))
    level.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    level.add_special_tokens([AddedToken(word, special=True) for word in WORDS[:4]])
    if front:
        pairs = [(word, WORDS.index(word)) for word in front.split()]
        level.post_processor = processors.TemplateProcessing(single=f"{front} $A", special_tokens=pairs)
    return PreTrainedTokenizerFast(tokenizer_object=level, **named)


OWN = {
    "": (),
    "<s>": (0,),
    "<start> <sop>": (2, 3),
}


@pytest.mark.parametrize("front", OWN)
def test_what_the_tokenizer_itself_puts_there(front: str) -> None:
    tokenizer = words(front, bos_token="<start>")
    assert tokenizers_own(tokenizer) == OWN[front]
    tokens = ensure_tokenized(tokenizer, "a b", opening="tokenizer")
    assert tokens == tokenizer("a b")["input_ids"]
    assert tokens.opened_by == len(OWN[front])
    assert tokens.begins_special == bool(front)


@pytest.mark.parametrize(
    ("opening", "ids"),
    [(None, [0, 4, 5]), ("none", [4, 5]), ("<end>", [1, 4, 5]), (1, [1, 4, 5]), ("b", [5, 4, 5])],
)
def test_a_chosen_opening(opening: str | int | None, ids: list[int]) -> None:
    tokenizer = words(bos_token="<s>")
    for prompt in ("a b", [4, 5]):
        tokens = ensure_tokenized(tokenizer, prompt, opening=opening)
        assert tokens == ids
        assert tokens.opened_by == len(ids) - 2
        # What was opened once is not opened again, by no rule.
        again = ensure_tokenized(tokenizer, tokens, opening=None)
        assert (again, again.opened_by) == (ids, 0)


@pytest.mark.parametrize("opening", [None, "<end>", "tokenizer", "none"])
@pytest.mark.parametrize("prompt", ["<start> a b", [2, 4, 5]])
def test_a_special_token_that_has_no_name_opens_a_prompt(
    prompt: str | list[int], opening: str | None
) -> None:
    tokenizer = words("<s>", bos_token="<s>", eos_token="<end>")
    assert 2 not in tokenizer.all_special_ids
    assert special_ids(tokenizer) == {0, 1, 2, 3}
    assert ensure_tokenized(tokenizer, prompt, opening=opening) == [2, 4, 5]


@pytest.mark.parametrize("opening", ["a b", "zebra", 99, -1, "", "None"])
def test_an_opening_that_is_no_token_is_refused(opening: str | int) -> None:
    with pytest.raises(ConfigurationError, match=rf"prompts\.opening is {opening!r}"):
        opening_tokens(words(unk_token="b"), opening, 6)


def test_two_openings_are_said_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tokens = tokenize_all(words(bos_token="<end>"), ["<end> <end> a", [1, 1, 4]])
    assert tokens == [[1, 1, 4], [1, 1, 4]]
    assert [record.message for record in caplog.records] == [
        "a prompt begins with '<end>' twice, and is traced so: leave one of them out"
    ]


def test_tokens_to_trace_are_a_list_that_travels() -> None:
    import pickle

    tokens = pickle.loads(pickle.dumps(TracedTokens([1, 2], 1, False)))
    assert (tokens, tokens.opened_by, tokens.begins_special) == ([1, 2], 1, False)
