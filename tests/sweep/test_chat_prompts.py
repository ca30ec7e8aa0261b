"""Chat prompts of a sweep: one user turn or a column of messages, in every file format that has lists."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigurationError, ModelError
from pipeline.model.tokenization.tokens import load_tokenizer
from pipeline.runtime.shards.grouping import Shards
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.inputs import open_inputs
from tests.support.tiny_model import WORDS

TEMPLATE = (
    "<bos>{% for message in messages %} {% if message.role == 'user' %}w10{% else %}w11{% endif %}"
    " {{ message.content }}{% endfor %}{% if add_generation_prompt %} w11{% endif %}"
)
TURN = {"role": "user", "content": "w1 w2"}


@pytest.fixture
def chat_model(model_folder: Path) -> Path:
    tokenizer = load_tokenizer(str(model_folder / "model"))
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(model_folder / "model")
    return model_folder


def words(config: SweepConfig) -> tuple[list[str], list[str]]:
    """Return each prompt's words, and the messages of those that failed."""
    inputs = open_inputs(config)
    (shard,) = Shards(inputs.items, inputs.run_key, 8)
    texts = [" ".join(WORDS[token] for token in prompt.token_ids) for prompt in shard.items]
    return texts, [failed.message for failed in shard.rejected]


def test_a_text_is_one_user_turn(chat_model: Path, make_config: Callable[..., SweepConfig]) -> None:
    rows = [{"prompt": "w1 w2"}, {"prompt": ""}, {"prompt": "w3"}]
    texts, failures = words(make_config(rows, prompts={"chat": True}))
    assert texts == ["<bos> w10 w1 w2 w11", "<bos> w10 w3 w11"]
    assert len(failures) == 1
    assert "is empty" in failures[0]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_column_of_messages(
    chat_model: Path, make_config: Callable[..., SweepConfig], tmp_path: Path, suffix: str
) -> None:
    rows: list[dict[str, Any]] = [
        {"talk": [TURN]},
        {"talk": [TURN, {"role": "assistant", "content": "w5"}]},
        {"talk": []},
    ]
    settings: dict[str, Any] = {"chat": True, "text": "talk"}
    if suffix == "parquet":
        settings["source"] = str(tmp_path / "prompts.parquet")
        pq.write_table(pa.Table.from_pylist(rows), settings["source"])
    texts, failures = words(make_config(rows, prompts=settings))
    assert texts == ["<bos> w10 w1 w2 w11", "<bos> w10 w1 w2 w11 w5"]
    assert len(failures) == 1
    assert "no messages" in failures[0]


CALLS = (
    "<bos>{% for m in messages %} {{ m.role_word or 'w10' }} {{ m.content if m.content is string else '' }}"
    "{% for p in m.content if m.content is not string %}{{ p.text }}"
    "{% if p.image is defined %} w20{% endif %}{% endfor %}"
    "{% for call in m.tool_calls or [] %} w21 {{ call.name }}"
    "{% if call.arguments is mapping and 'b' in call.arguments %} w22{% endif %}{% endfor %}"
    "{% if m.name is defined %} w23{% endif %}{% endfor %}{% if quiet %} w24{% endif %}"
)
USER, PARTS = {"role": "user", "content": "w1"}, {"role": "user", "content": [{"type": "text", "text": "w2"}]}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"name": "w3", "arguments": {"a": 1, "b": None}}],
}
BOTH = CALL | {"content": "w4"}
NAMED = {"role": "user", "content": "w5", "name": "z"}
TALKS = [[USER], [USER, CALL, USER], [USER, BOTH, USER], [PARTS], [NAMED, USER]]
EXPECTED = [
    "<bos> w10 w1",
    "<bos> w10 w1 w10 w21 w3 w22 w10 w1",
    "<bos> w10 w1 w10 w4 w21 w3 w22 w10 w1",
    "<bos> w10 w2",
    "<bos> w10 w5 w23 w10 w1",
]


@pytest.fixture
def calling_model(chat_model: Path) -> Path:
    tokenizer = load_tokenizer(str(chat_model / "model"))
    tokenizer.chat_template = CALLS
    tokenizer.save_pretrained(chat_model / "model")
    return chat_model


@pytest.mark.parametrize("as_text", [False, True])
def test_messages_with_parts_calls_and_keys_of_their_own(
    calling_model: Path, make_config: Callable[..., SweepConfig], as_text: bool
) -> None:
    rows = [{"talk": json.dumps(talk) if as_text else talk} for talk in TALKS]
    texts, failures = words(make_config(rows, prompts={"chat": True, "text": "talk"}))
    assert (texts, failures) == (EXPECTED, [])


def test_nulls_that_only_the_columns_type_made_are_no_keys(
    calling_model: Path, make_config: Callable[..., SweepConfig], tmp_path: Path
) -> None:
    source = str(tmp_path / "p.parquet")
    parts = [{"role": "user", "content": [{"text": "w2"}, {"image": "x"}]}]
    rows = [{"talk": [PARTS]}, {"talk": parts}, {"talk": [{**PARTS, "name": "z"}]}]
    pq.write_table(pa.Table.from_pylist(rows), source)
    settings = {"chat": True, "text": "talk", "source": source}
    assert words(make_config([], prompts=settings))[0] == [
        "<bos> w10 w2",
        "<bos> w10 w2 w20",
        "<bos> w10 w2 w23",
    ]


def test_arguments_reach_the_template(calling_model: Path, make_config: Callable[..., SweepConfig]) -> None:
    rows, settings = [{"talk": [USER]}], {"chat": True, "text": "talk"}
    config = make_config(rows, prompts=settings | {"template": {"quiet": True}})
    assert words(config)[0] == ["<bos> w10 w1 w24"]
    with pytest.raises(ModelError, match="'quite'"):
        open_inputs(make_config(rows, prompts=settings | {"template": {"quite": True}}))
    with pytest.raises(ValueError, match="sets template, but not chat"):
        make_config(rows, prompts={"template": {"quiet": True}})


def test_messages_without_chat_are_refused(make_config: Callable[..., SweepConfig]) -> None:
    with pytest.raises(ConfigurationError, match=r"prompts\.chat if it holds messages"):
        open_inputs(make_config([{"prompt": [TURN]}]))


def test_a_model_without_a_template_is_refused(make_config: Callable[..., SweepConfig]) -> None:
    with pytest.raises(ModelError, match=r"has no chat template.*prompts\.chat"):
        open_inputs(make_config([{"prompt": "w1 w2"}], prompts={"chat": True}))
