"""Conversations to text by a tokenizer's own template."""

from __future__ import annotations

import copy

import pytest
from transformers import PreTrainedTokenizerBase

from pipeline.errors import ModelError, PromptError
from pipeline.model.tokenization.chat import check_chat_template, render_chat
from tests.support.random_models import tokenizer

TEMPLATE = (
    "<bos>{% for message in messages %}"
    "{% if message.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "[{{ message.role }}] {{ message.content }} <eos>{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


@pytest.fixture
def chat() -> PreTrainedTokenizerBase:
    made = copy.deepcopy(tokenizer())
    made.chat_template = TEMPLATE
    return made


def test_a_text_is_one_user_turn_after_which_the_assistant_speaks(chat: PreTrainedTokenizerBase) -> None:
    assert render_chat(chat, "w3 w4") == "<bos>[user] w3 w4 <eos>[assistant] "


def test_messages_keep_their_roles(chat: PreTrainedTokenizerBase) -> None:
    messages = [
        {"role": "system", "content": "w3", "name": None},
        {"role": "user", "content": "w4", "name": "me"},
    ]
    assert render_chat(chat, messages) == "<bos>[system] w3 <eos>[user] w4 <eos>[assistant] "


def test_the_assistants_last_words_go_on(chat: PreTrainedTokenizerBase) -> None:
    messages = [{"role": "user", "content": "w3"}, {"role": "assistant", "content": "w4 w5"}]
    assert render_chat(chat, messages) == "<bos>[user] w3 <eos>[assistant] w4 w5"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("  ", "neither empty"),
        ([], "no messages"),
        ([{"role": "user"}], "message 0 is .* must have a `role` and a `content`"),
        ([{"role": "user", "content": "w3"}, "w4"], "message 1 is 'w4'"),
        ([{"role": "tool", "content": "w3"}], "refuses a conversation of tool .*no tools here"),
    ],
)
def test_a_conversation_that_is_none_is_refused(
    chat: PreTrainedTokenizerBase, content: str | list, message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        render_chat(chat, content)


def test_a_tokenizer_without_a_template_is_refused(chat: PreTrainedTokenizerBase) -> None:
    check_chat_template(chat, "tiny")
    with pytest.raises(ModelError, match="tokenizer of model 'tiny' has no chat template"):
        check_chat_template(tokenizer(), "tiny")
