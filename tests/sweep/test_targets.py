"""Targets as users write them: which become token ids, which are refused, and what a sweep makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from pipeline.errors import TargetError
from pipeline.model.tokenization.tokens import load_tokenizer
from pipeline.runtime.shards.grouping import Shards
from pipeline.runtime.shards.stage import StageError
from pipeline.store.commits.keys import prompt_key
from pipeline.sweep.config import AttributionConfig, SweepConfig, TargetsConfig
from pipeline.sweep.engine import Engine, EngineConfig
from pipeline.sweep.inputs import open_inputs
from pipeline.sweep.prompts.targets import (
    ChosenTargets,
    chosen_for_all,
    read_own_ids,
    read_own_targets,
    read_targets,
)
from tests.support.tiny_model import WORDS

TOKENS = (1, 4, 5, 6)
W1, W2, W3 = (WORDS.index(word) for word in ("w1", "w2", "w3"))


@pytest.fixture(scope="module")
def read(tiny: Path) -> Callable[[Any], ChosenTargets]:
    tokenizer = load_tokenizer(str(tiny / "model"))
    return lambda value: read_targets(value, tokenizer, len(WORDS))


@pytest.mark.parametrize(
    ("value", "ids"),
    [("w1", (W1,)), (W1, (W1,)), (["w2", "w1"], (W2, W1)), ([W3, "w1"], (W3, W1)), (("w1",), (W1,))],
)
def test_a_token_is_the_same_however_it_is_spelt(
    read: Callable[[Any], ChosenTargets], value: Any, ids: tuple[int, ...]
) -> None:
    assert read(value) == ChosenTargets(ids)


def test_a_difference_is_not_its_two_tokens(read: Callable[[Any], ChosenTargets]) -> None:
    difference = read({"difference": ["w1", W2]})
    assert difference == ChosenTargets((W1, W2), kind="difference")
    keys = [difference.key, read(["w1", "w2"]).key, read({"difference": ["w2", "w1"]}).key]
    assert len(set(keys)) == 3


def test_features_are_not_tokens(read: Callable[[Any], ChosenTargets]) -> None:
    features = read({"features": [[1, -1, 3], [0, 2, 5]], "difference": None})
    assert features == ChosenTargets((1, -1, 3, 0, 2, 5), "features")
    assert features.key != read([1, 3, 0, 2, 5]).key
    assert read({"features": ["1/3@-1", "0/5@2"]}) == read({"features": ["1/3@-1", [0, 2, 5]]}) == features
    assert read({"features": "1/3@-1"}) == read({"features": ["1/3@-1"]})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "value is null"),
        ("w1 w2", "'w1 w2' is 2 tokens"),
        ("", "'' is 0 tokens"),
        ("Austin", "'Austin' is not in this"),
        (len(WORDS), "32 is neither a string nor a token id of this model: ids run from 0 to 31"),
        (-1, "-1 is neither"),
        (True, "True is neither"),
        (4.0, r"4\.0 is neither"),
        ([], "targets are empty"),
        (["w1", W1], "name a token twice"),
        ({"difference": ["w1"]}, "must be two tokens"),
        ({"difference": "ab"}, "must be two tokens"),
        ({"difference": None}, "must be {difference: "),
        ({"ratio": ["w1", "w2"]}, "must be {difference: "),
        ({"difference": ["w1", "w2"], "features": [[0, 1, 2]]}, "must be {difference: "),
        ({"features": [[0, 1]]}, r"\[0, 1\] must be named"),
        ({"features": [[0, 1, 2.5]]}, r"2\.5\] must be named"),
        ({"features": [[0, 1, 2], 7]}, "7 must be named"),
        ({"features": []}, "features are empty"),
        ({"features": 3}, "3 must be named"),
        ({"features": ["0/2"]}, "0/2@-1"),
        ({"features": ["0:2@1"]}, "0/2@1"),
    ],
)
def test_what_is_no_target_is_named(read: Callable[[Any], ChosenTargets], value: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        read(value)


def make_engine(folder: Path, targets: Any = None) -> Engine:
    rules = AttributionConfig(targets=targets)
    return Engine(EngineConfig(str(folder / "model"), str(folder / "transcoders"), attribution=rules))


def test_the_sweeps_targets_are_explained_and_a_prompts_own_win(tiny: Path) -> None:
    engine = make_engine(tiny, ["w1", W2])
    assert [target.token_id for target in engine.trace(TOKENS).graph.targets] == [W1, W2]
    own = engine.trace(TOKENS, ChosenTargets((W3,))).graph.targets
    assert [(target.label, target.token_id) for target in own] == [("w3", W3)]


def test_a_difference_is_the_difference_of_the_edges(tiny: Path) -> None:
    both = make_engine(tiny, ["w1", "w2"]).trace(TOKENS).graph
    (target,) = make_engine(tiny, {"difference": ["w1", "w2"]}).trace(TOKENS).graph.targets
    assert (target.label, target.probability) == ("w1 - w2", 1.0)
    graph = make_engine(tiny, {"difference": ["w1", "w2"]}).trace(TOKENS).graph
    first, second = both.dense()[-2:, :-2]
    assert torch.allclose(graph.dense()[-1, :-1], first - second, atol=1e-5)


def test_a_features_preactivation_is_explained(tiny: Path) -> None:
    layer, position, feature = make_engine(tiny).trace(TOKENS).graph.active_features[-1].tolist()
    targets = {"features": [[layer, position, feature]]}
    (target,) = make_engine(tiny, targets).trace(TOKENS).graph.targets
    assert (target.layer, target.position, target.label) == (layer, position, f"{layer}/{feature}@{position}")


def test_a_feature_that_does_not_exist_fails_its_prompt(tiny: Path) -> None:
    with pytest.raises(StageError, match="has layer 7") as caught:
        make_engine(tiny, {"features": [[7, 1, 0]]}).trace(TOKENS)
    assert (caught.value.stage, type(caught.value.cause)) == ("attribution", TargetError)


def test_an_earlier_position_is_explained_as_if_the_prompt_ended_there(tiny: Path) -> None:
    rules = AttributionConfig(position=2)
    cut = Engine(EngineConfig(str(tiny / "model"), str(tiny / "transcoders"), attribution=rules))
    assert torch.equal(cut.trace(TOKENS).graph.dense(), make_engine(tiny).trace(TOKENS[:3]).graph.dense())


def test_targets_left_open_are_chosen_by_probability(tiny: Path) -> None:
    tokenizer = load_tokenizer(str(tiny / "model"))
    assert chosen_for_all(TargetsConfig(), tokenizer, 32) is None
    probabilities = [target.probability for target in make_engine(tiny).trace(TOKENS).graph.targets]
    assert len(probabilities) > 1
    assert probabilities == sorted(probabilities, reverse=True)


def test_targets_of_all_prompts_that_do_not_exist_are_refused_at_once(
    make_config: Callable[..., SweepConfig],
) -> None:
    config = make_config([{"prompt": "w1 w2"}], attribution={"targets": ["w1 w2"]})
    with pytest.raises(TargetError, match="is 2 tokens"):
        open_inputs(config)


ROWS = [
    {"id": "string", "prompt": "w1 w2 w3", "answer": "w5"},
    {"id": "other", "prompt": "w1 w2 w3", "answer": "w6"},
    {"id": "again", "prompt": "w1 w2 w3", "answer": "w5"},
    {"id": "several", "prompt": "w1 w2 w3", "answer": "w5 w6"},
    {"id": "none", "prompt": "w1 w2 w3", "answer": None},
]


def test_the_same_text_with_other_targets_is_other_work(make_config: Callable[..., SweepConfig]) -> None:
    config = make_config(ROWS, attribution={"targets": {"column": "answer"}})
    inputs = open_inputs(config)
    shards = Shards(inputs.items, inputs.run_key, 8)
    (shard,) = shards
    assert [(prompt.id, prompt.targets) for prompt in shard.items] == [
        ("string", ChosenTargets((WORDS.index("w5"),))),
        ("other", ChosenTargets((WORDS.index("w6"),))),
    ]
    tokens = shard.items[0].token_ids
    assert [prompt.key for prompt in shard.items] == [
        prompt_key(tokens, [WORDS.index(word)]) for word in ("w5", "w6")
    ]
    assert list(shards.repeated_keys) == ["again"]
    assert [(failed.id, failed.stage, failed.error_class) for failed in shard.rejected] == [
        ("several", "targets", "TargetError"),
        ("none", "targets", "TargetError"),
    ]


@pytest.mark.parametrize(
    ("value", "labels"),
    [(["w5", "w6"], ["w5", "w6"]), ({"difference": ["w5", "w6"]}, ["w5 - w6"])],
)
def test_a_column_may_hold_lists_and_differences(
    make_config: Callable[..., SweepConfig], value: Any, labels: list[str]
) -> None:
    rows = [{"prompt": "w1 w2", "answer": value}]
    config = make_config(rows, attribution={"targets": {"column": "answer"}})
    inputs = open_inputs(config)
    (shard,) = Shards(inputs.items, inputs.run_key, 8)
    (prompt,) = shard.items
    engine = Engine(EngineConfig(config.model, config.transcoders, attribution=config.attribution))
    trace = engine.trace(prompt.token_ids, prompt.targets)
    assert [target.label for target in trace.graph.targets] == labels


NUMBERS = ["<pad>", "<bos>", "<eos>", "<unk>", *(f"w{i}" for i in range(12)), *map(str, range(16))]
"""A vocabulary in which no number is its own id."""


@pytest.fixture
def counting_model(model_folder: Path) -> Path:
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(NUMBERS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    named = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=words, **named).save_pretrained(model_folder / "model")
    return model_folder


ANSWERS = [7, [7, 3], {"difference": [7, 3]}]
LABELS = [["7"], ["7", "3"], ["7", "3"]]


def chosen(config: SweepConfig) -> list[list[str]]:
    inputs = open_inputs(config)
    (shard,) = Shards(inputs.items, inputs.run_key, 8)
    assert not shard.rejected, shard.rejected[0].message
    return [[NUMBERS[number] for number in prompt.targets.numbers] for prompt in shard.items]


@pytest.mark.parametrize(("answer", "labels"), zip(ANSWERS, LABELS, strict=True))
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_digits_in_a_column_are_text(
    counting_model: Path,
    make_config: Callable[..., SweepConfig],
    tmp_path: Path,
    suffix: str,
    answer: Any,
    labels: list[str],
) -> None:
    rows = [{"prompt": "3 w1 4", "answer": answer}]
    source = str(tmp_path / f"prompts.{suffix}")
    config = make_config(rows, prompts={"source": source}, attribution={"targets": {"column": "answer"}})
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), source)
    assert chosen(config) == [labels]


def test_digits_in_a_csv_are_text_unless_the_file_says_ids(
    counting_model: Path, make_config: Callable[..., SweepConfig], tmp_path: Path
) -> None:
    source = tmp_path / "p.csv"
    source.write_text(f"id,prompt,answer,number\n007,3,7,{NUMBERS.index('5')}\n8,4,11,{NUMBERS.index('6')}\n")
    settings = {"source": str(source), "columns": ["number"]}
    config = make_config([], prompts=settings, attribution={"targets": {"column": "answer"}})
    assert chosen(config) == [["7"], ["11"]]
    # Prompts and ids of digits are text too; other columns keep the type that their values show.
    prompts = list(open_inputs(config).prompts)
    assert [(prompt.id, prompt.content) for prompt in prompts] == [("007", "3"), ("8", "4")]
    assert [prompt.columns["number"] for prompt in prompts] == [21, 22]
    config = make_config([], prompts=settings, attribution={"targets": {"token_ids": "number"}})
    assert chosen(config) == [["5"], ["6"]]


def test_the_targets_of_a_sweep_file_are_ids_where_they_are_numbers(counting_model: Path) -> None:
    tokenizer = load_tokenizer(str(counting_model / "model"))
    assert chosen_for_all(TargetsConfig(tokens=(7, "7")), tokenizer, 32) == ChosenTargets((7, 23))


def test_numbers_of_features_are_no_text(read: Callable[[Any], ChosenTargets], tiny: Path) -> None:
    tokenizer = load_tokenizer(str(tiny / "model"))
    value = {"features": [[1, -1, 3]], "difference": None}
    assert read_own_targets(value, tokenizer, len(WORDS)) == read(value)


def test_one_empty_cell_leaves_the_other_ids_of_a_csv_alone(
    counting_model: Path, make_config: Callable[..., SweepConfig], tmp_path: Path
) -> None:
    source = tmp_path / "p.csv"
    source.write_text(f"prompt,number\n3,{NUMBERS.index('5')}\n4,\n6,{NUMBERS.index('6')}\n")
    config = make_config(
        [], prompts={"source": str(source)}, attribution={"targets": {"token_ids": "number"}}
    )
    inputs = open_inputs(config)
    first, second, third = inputs.prompts
    tokenizer = load_tokenizer(str(counting_model / "model"))
    read = [read_own_ids(p.targets, tokenizer, len(NUMBERS)).numbers for p in (first, third)]
    assert read == [(NUMBERS.index("5"),), (NUMBERS.index("6"),)]
    with pytest.raises(TargetError, match="null"):
        read_own_ids(second.targets, tokenizer, len(NUMBERS))
