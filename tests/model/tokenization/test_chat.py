"""Conversations to text by a tokenizer's own template."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
from transformers import Gemma3TextConfig, PreTrainedTokenizerBase

from pipeline.errors import ModelError, PromptError
from pipeline.model.tokenization.chat import check_chat_template, render_chat
from pipeline.model.tokenization.tokens import fixed_prefix
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


def test_sharegpts_speakers_have_roles(chat: PreTrainedTokenizerBase) -> None:
    talk = [("system", "w1"), ("human", "w3"), ("gpt", "w4"), ("human", "w5")]
    roles = {"human": "user", "gpt": "assistant", "system": "system"}
    expected = render_chat(chat, [{"role": roles[who], "content": words} for who, words in talk])
    assert render_chat(chat, [{"from": who, "value": words, "weight": 0} for who, words in talk]) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("  ", "'  ' is empty"),
        ([], "no messages"),
        ([{"role": "user"}], "message 0 is .* must have a `role` and a `content`"),
        ([{"role": "user", "content": "w3"}, "w4"], "message 1 is 'w4'"),
        ([{"role": "user", "content": None}], "message 0 is .* must have a `role` and a `content`"),
        ([{"role": "user", "content": 3}], "message 0 has the content 3"),
        ([{"role": "user", "content": [3]}], "message 0 has the part 3"),
        ([{"from": "human", "words": "w3"}], "message 0 is .* must have a `role` and a `content`"),
        (
            [{"from": "function_call", "value": "w3"}],
            "message 0 is from 'function_call', which is no speaker",
        ),
        ([{"from": ["gpt"], "value": "w3"}], r"message 0 is from \['gpt'\], which is no speaker"),
        ([{"from": "human", "value": 3}], "message 0 has the content 3"),
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


CHATML = (
    "{% for m in messages %}<|{{ m.role }}|> "
    "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
    "{% if p.type == 'text' %}{{ p.text }}{% else %}<{{ p.type }}>{% endif %}{% endfor %}{% endif %}"
    "{% for call in m.tool_calls or [] %} call {{ call.function | tojson }}"
    "{% endfor %}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>"
    "{% if enable_thinking is defined and not enable_thinking %} <think></think>{% endif %} {% endif %}"
)
TRIMMING = CHATML.replace("{{ m.content }}", "{{ m.content | trim }}")
QWEN3 = (
    "{% for m in messages %}<|{{ m.role }}|>\n"
    "{% if m.role == 'assistant' and '</think>' in m.content %}"
    "{% set thought = m.content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{% set said = m.content.split('</think>')[-1].lstrip('\n') %}"
    "{{ '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + said }}"
    "{% else %}{{ m.content }}{% endif %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
TWICE = CHATML + "Summary: {{ messages[-1].content }}"
WITHOUT_ASSISTANT = "{% for m in messages if m.role != 'assistant' %}{{ m.content }}<|end|>{% endfor %}"

CALL = {"type": "function", "function": {"name": "w30", "arguments": {"a": 1, "b": None}}}
TALKS = {
    "one part": [{"role": "user", "content": [{"type": "text", "text": "w3"}]}],
    "two parts": [{"role": "user", "content": [{"type": "text", "text": t} for t in ("w3", "w4")]}],
    "an image": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "w4"}]}],
    "a call without text": [
        {"role": "user", "content": "w3"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "w5", "name": "w30"},
    ],
    "a call beside text": [
        {"role": "user", "content": "w3"},
        {"role": "assistant", "content": "w12", "tool_calls": [CALL]},
        {"role": "tool", "content": "w5"},
    ],
    "an empty system text": [{"role": "system", "content": ""}, {"role": "user", "content": "w3"}],
    "a null that means nothing": [{"role": "user", "content": "w3", "tool_calls": None, "name": None}],
}


def with_template(template: str) -> PreTrainedTokenizerBase:
    made = copy.deepcopy(tokenizer())
    made.chat_template = template
    return made


def present(talk: list[dict]) -> list[dict]:
    """Older versions of transformers give nulls to the template, which then writes `None`."""
    return [{key: value for key, value in message.items() if value is not None} for message in talk]


@pytest.mark.parametrize("thinking", [None, False])
@pytest.mark.parametrize("template", [CHATML, TRIMMING])
@pytest.mark.parametrize("name", TALKS)
def test_messages_are_written_as_the_template_writes_them(
    template: str, name: str, thinking: bool | None
) -> None:
    chat, arguments = with_template(template), {} if thinking is None else {"enable_thinking": thinking}
    expected = chat.apply_chat_template(
        present(TALKS[name]), tokenize=False, add_generation_prompt=True, **arguments
    )
    assert render_chat(chat, TALKS[name], arguments) == expected
    assert ("<think>" in expected) == (thinking is False)


@pytest.mark.parametrize("template", [CHATML, TRIMMING])
@pytest.mark.parametrize(
    "said", ["", "Sure", " Sure", "Sure ", "Sure\n", "user", "assistant", "<think>a</think>b"]
)
@pytest.mark.parametrize("in_parts", [False, True])
def test_a_last_turn_goes_on_as_transformers_lets_it(template: str, said: str, in_parts: bool) -> None:
    chat = with_template(template)
    content = [{"type": "text", "text": said}] if in_parts else said
    talk = [{"role": "user", "content": "w3"}, {"role": "assistant", "content": content}]
    expected = chat.apply_chat_template(talk, tokenize=False, continue_final_message=True)
    assert render_chat(chat, talk) == expected
    assert chat.apply_chat_template(talk, tokenize=False).startswith(expected)


def test_a_thought_that_the_template_spells_anew_goes_on_too() -> None:
    chat = with_template(QWEN3)
    short, spelt = "<think>a</think>b", "<think>\na\n</think>\n\nb"
    talks = [[{"role": "user", "content": "w3"}, {"role": "assistant", "content": c}] for c in (short, spelt)]
    with pytest.raises(ValueError, match="final message"):
        chat.apply_chat_template(talks[0], tokenize=False, continue_final_message=True)
    expected = chat.apply_chat_template(talks[1], tokenize=False, continue_final_message=True)
    assert [render_chat(chat, talk) for talk in talks] == [expected, expected]
    assert expected.endswith("</think>\n\nb")


@pytest.mark.parametrize(
    ("template", "message"), [(TWICE, "writes 2 times the last"), (WITHOUT_ASSISTANT, "leaves out the last")]
)
def test_a_last_turn_without_one_end_is_refused(template: str, message: str) -> None:
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Sure"}]
    with pytest.raises(PromptError, match=message):
        render_chat(with_template(template), talk)


def test_a_last_call_of_a_tool_is_written_to_its_end() -> None:
    chat = with_template(CHATML)
    talk = TALKS["a call beside text"][:2]
    assert render_chat(chat, talk) == chat.apply_chat_template(talk, tokenize=False)


def test_arguments_that_the_template_does_not_read_are_refused() -> None:
    chat = with_template(CHATML + "{% generation %}{% endgeneration %}")
    check_chat_template(chat, "tiny", {"enable_thinking": False})
    with pytest.raises(ModelError, match=r"'enable_thinkin'.*It reads enable_thinking"):
        check_chat_template(chat, "tiny", {"enable_thinkin": False})
    with pytest.raises(ModelError, match="'add_generation_prompt', which follows"):
        check_chat_template(chat, "tiny", {"add_generation_prompt": False})
    with pytest.raises(ModelError, match="not valid Jinja"):
        check_chat_template(with_template("{% for %}"), "tiny")


HOLDING = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}",
    "a power": "{{ 99999 ** 99999 ** 9 }}",
    "a long text": "{{ 'x' * 3000000000 }}",
    "a longer text than any model reads": "{{ 'x' * 20000000 }}",
}


@pytest.mark.parametrize("template", HOLDING.values(), ids=HOLDING)
def test_a_template_that_never_ends_or_fills_the_memory_is_ended(
    template: str,
) -> None:
    with pytest.raises(PromptError, match="refuses a conversation of user"):
        render_chat(with_template(template), "w3")
    assert render_chat(with_template(CHATML), "w3").startswith("<|user|> w3")


def test_threads_render_side_by_side() -> None:
    chat = with_template(CHATML)
    texts = [f"w{number}" for number in range(50)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: render_chat(chat, text), texts))
    assert found == [f"<|user|> {text}<|end|>\n<|assistant|> " for text in texts]


def test_whether_a_gemma_has_been_taught_to_talk_is_asked_within_the_same_bounds() -> None:
    chat = with_template(HOLDING["loops"])
    assert fixed_prefix(Gemma3TextConfig(), chat) == ()
