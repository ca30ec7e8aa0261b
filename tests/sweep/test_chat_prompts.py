"""Chat prompts of a sweep: one user turn or a column of messages, in every file format that has lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigurationError, ModelError
from pipeline.model.tokenization.tokens import load_tokenizer
from pipeline.runtime.shards import Shards
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
    assert "neither empty" in failures[0]


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


def test_messages_without_chat_are_refused(make_config: Callable[..., SweepConfig]) -> None:
    with pytest.raises(ConfigurationError, match=r"prompts\.chat if it holds messages"):
        open_inputs(make_config([{"prompt": [TURN]}]))


def test_a_model_without_a_template_is_refused(make_config: Callable[..., SweepConfig]) -> None:
    with pytest.raises(ModelError, match=r"has no chat template.*prompts\.chat"):
        open_inputs(make_config([{"prompt": "w1 w2"}], prompts={"chat": True}))
