"""How a sweep's prompts begin: in the driver, in the engine, in `graphs`, and for what reads these later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigurationError
from pipeline.model.tokenization.tokens import load_tokenizer
from pipeline.runtime.shards.grouping import Shards
from pipeline.store.rows.graphs import graph_tables
from pipeline.sweep.attribution_work import traced_prompt
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.engine import Engine
from pipeline.sweep.inputs import open_inputs
from pipeline.sweep.plan import opening_remarks
from pipeline.sweep.prompts.counts import count_prompts
from pipeline.sweep.run import described, engine_config
from tests.support.tiny_model import WORDS

TALK = [{"role": "user", "content": "w1 w2"}]


def rows_of(config: SweepConfig) -> list[dict[str, Any]]:
    """Trace the prompts as a worker does and return their rows of `graphs`."""
    inputs = open_inputs(config)
    (shard,) = Shards(inputs.items, inputs.run_key, 8)
    engine = Engine(engine_config(config, inputs))
    tables = (graph_tables(traced_prompt(p, engine.trace(p.token_ids), 0)) for p in shard.items)
    return [table["graphs"].to_pylist()[0] for table in tables]


@pytest.mark.parametrize(
    ("opening", "tokens", "shown"),
    [
        (None, ["<bos>", "w1", "w2"], "<bos>"),
        ("none", ["w1", "w2"], None),
        ("tokenizer", ["w1", "w2"], None),
        ("<eos>", ["<eos>", "w1", "w2"], "<eos>"),
        (0, ["<pad>", "w1", "w2"], "<pad>"),
    ],
)
@pytest.mark.parametrize("settings", [{}, {"token_ids": "ids"}])
def test_the_table_says_what_was_put_in_front(
    make_config: Callable[..., SweepConfig],
    opening: str | int | None,
    tokens: list[str],
    shown: str | None,
    settings: dict[str, str],
) -> None:
    rows = [
        {"prompt": "w1 w2", "ids": [WORDS.index("w1"), WORDS.index("w2")]},
        {"prompt": "<bos> w3", "ids": [1, WORDS.index("w3")]},
    ]
    found = rows_of(make_config(rows, prompts=settings | {"opening": opening}))
    assert [row["tokens"] for row in found] == [tokens, ["<bos>", "w3"]]
    assert [row["opening"] for row in found] == [shown, None]


def test_chats_are_as_the_template_gives_them(
    model_folder: Path, make_config: Callable[..., SweepConfig]
) -> None:
    tokenizer = load_tokenizer(str(model_folder / "model"))
    tokenizer.chat_template = "w9 {% for m in messages %}{{ m.content }}{% endfor %}"
    tokenizer.save_pretrained(model_folder / "model")
    settings = {"text": "talk", "chat": True}
    (row,) = rows_of(make_config([{"talk": TALK}], prompts=settings))
    assert row["token_ids"] == tokenizer.apply_chat_template(TALK, return_dict=False)
    assert row["opening"] is None
    (row,) = rows_of(make_config([{"talk": TALK}], prompts=settings | {"opening": "<bos>"}))
    assert (row["tokens"][:2], row["opening"]) == (["<bos>", "w9"], "<bos>")


def test_a_plan_says_how_prompts_begin(make_config: Callable[..., SweepConfig]) -> None:
    rows = [{"prompt": "w1 w2"}, {"prompt": "w3 w4"}, {"prompt": "<eos> w3"}]
    remarks = {}
    for opening in (None, "none"):
        config = make_config(rows, prompts={"opening": opening})
        inputs = open_inputs(config)
        counts = count_prompts(Shards(inputs.items, inputs.run_key, 8), 0)
        remarks[opening] = opening_remarks(counts, load_tokenizer(config.model))
    (added,), (bare,) = remarks[None], remarks["none"]
    assert added.startswith("'<bos>' was put in front of 2 prompts, which its tokenizer does not")
    assert bare.startswith("2 prompts begin with no special token")


def test_the_opening_is_part_of_the_run(make_config: Callable[..., SweepConfig]) -> None:
    keys, openings = set(), []
    for opening in (None, "none", "tokenizer", "<eos>"):
        config = make_config([{"prompt": "w1 w2"}], prompts={"opening": opening})
        inputs = open_inputs(config)
        keys.add(inputs.run_key)
        openings.append(described(config, inputs).get("opening"))
    assert len(keys) == 4
    assert openings == [None, "none", "tokenizer", "<eos>"]


def test_an_opening_that_the_model_does_not_have_is_refused(make_config: Callable[..., SweepConfig]) -> None:
    with pytest.raises(ConfigurationError, match=r"prompts\.opening is 'zebra'"):
        open_inputs(make_config([{"prompt": "w1"}], prompts={"opening": "zebra"}))
