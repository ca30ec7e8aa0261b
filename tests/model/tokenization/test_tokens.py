"""Prompts to token ids: what is put in front, what is refused."""

from __future__ import annotations

import re

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pipeline.errors import PromptError
from pipeline.model.tokenization.tokens import GEMMA3_CHAT_PREFIX, ensure_tokenized, tokenize_all


def _tokenizer(words: list[str], **special: str) -> PreTrainedTokenizerFast:
    level = Tokenizer(
        models.WordLevel(
            {word: i for i, word in enumerate(words)}, unk_token=special.get("unk_token", words[0])
        )
    )
    level.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=level, **special)


WORDS = ["<bos>", "<eos>", "<unk>", "a", "b"]
TOKENIZER = _tokenizer(WORDS, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>")


def test_bos_is_put_in_front_even_where_its_id_is_zero():
    assert ensure_tokenized(TOKENIZER, "a b") == [0, 3, 4]


@pytest.mark.parametrize("prompt", [[3, 4], torch.tensor([3, 4]), torch.tensor([[3, 4]]), "a b"])
def test_all_forms_of_a_prompt_give_the_same_ids(prompt):
    assert ensure_tokenized(TOKENIZER, prompt) == [0, 3, 4]


def test_a_special_token_in_front_is_left_alone():
    assert ensure_tokenized(TOKENIZER, [1, 3]) == [1, 3]
    assert ensure_tokenized(TOKENIZER, "<bos> a") == [0, 3]


@pytest.mark.parametrize(
    ("special", "opening"),
    [({"pad_token": "<pad>", "eos_token": "<eos>"}, 0), ({"eos_token": "<eos>"}, 1)],
)
def test_without_bos_pad_then_eos_opens(special, opening):
    tokenizer = _tokenizer(["<pad>", "<eos>", "x", "a"], **special)
    assert ensure_tokenized(tokenizer, [3]) == [opening, 3]


def test_without_any_special_token_the_first_token_opens():
    tokenizer = _tokenizer(["x", "a", "b"])
    assert ensure_tokenized(tokenizer, [1, 2]) == [1, 2]


@pytest.mark.parametrize(
    ("prompt", "limits", "message"),
    [
        ("", {}, "is empty"),
        ("   ", {}, "is empty"),
        ([], {}, "no token ids"),
        ("a zebra", {}, "has 'zebra', which .* does not know"),
        ([3, 99], {}, r"\[99\] are outside the vocabulary: ids run from 0 to 4"),
        ([3, -1], {}, r"\[-1\] are outside"),
        ([3, 4], {"vocabulary_size": 4}, r"\[4\] are outside .* 0 to 3"),
        (["a"], {}, "integer token ids"),
        ([[3], [4]], {}, "one list of integer token ids"),
        ([0], {}, "has 1 token, and the first 1 carries no features"),
        (5, {}, "must be text or a list of token ids"),
        (None, {}, "must be text or a list of token ids"),
        ("a b a b", {"context_length": 4}, "has 5 tokens, but the model's context holds 4"),
    ],
)
def test_unusable_prompts_are_refused_with_the_reason(prompt, limits, message):
    with pytest.raises(PromptError, match=message):
        ensure_tokenized(TOKENIZER, prompt, **limits)


def test_an_instruction_tuned_prompt_must_begin_with_its_prefix():
    words = [*(f"w{i}" for i in range(3000))]
    tokenizer = _tokenizer(words, bos_token="w2")
    prompt = [*GEMMA3_CHAT_PREFIX, 7]
    assert ensure_tokenized(tokenizer, prompt, fixed_prefix=GEMMA3_CHAT_PREFIX) == prompt
    with pytest.raises(PromptError, match="has 4 tokens, and the first 4 carry no features"):
        ensure_tokenized(tokenizer, list(GEMMA3_CHAT_PREFIX), fixed_prefix=GEMMA3_CHAT_PREFIX)
    with pytest.raises(PromptError, match="chat template"):
        ensure_tokenized(tokenizer, [2, 7, 8, 9, 10], fixed_prefix=GEMMA3_CHAT_PREFIX)


def test_gpt2_style_unknown_token_is_not_taken_for_a_lost_word():
    tokenizer = _tokenizer(["<end>", "a"], bos_token="<end>", eos_token="<end>", unk_token="<end>")
    assert ensure_tokenized(tokenizer, "<end> a") == [0, 1]


def test_many_prompts_are_tokenized_as_each_alone_would_be():
    prompts = ["a b", "", [1, 3], "<bos> a", [99], "\ud800", "a zebra", "b"]
    tokens = tokenize_all(TOKENIZER, prompts)
    assert [ids for ids in tokens if isinstance(ids, list)] == [[0, 3, 4], [1, 3], [0, 3], [0, 4]]
    for place, reason in {
        1: "is empty",
        4: "are outside the vocabulary",
        5: "cannot be read by the tokenizer",
        6: "does not know",
    }.items():
        assert reason in str(tokens[place])
        with pytest.raises(PromptError, match=re.escape(str(tokens[place]))):
            ensure_tokenized(TOKENIZER, prompts[place])
    assert tokenize_all(TOKENIZER, []) == []


def test_a_tokenizer_that_is_broken_is_no_prompts_fault(monkeypatch):
    monkeypatch.setattr(type(TOKENIZER), "__call__", _raise_import_error)
    with pytest.raises(ImportError):
        tokenize_all(TOKENIZER, ["a", "b"])


def _raise_import_error(*_, **__):
    raise ImportError("requires a library")
