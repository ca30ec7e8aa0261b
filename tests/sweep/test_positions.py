"""Sweeps that trace many positions of each prompt, or what the model says next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.aggregates import Grouping
from pipeline.aggregates.groups import read_groups
from pipeline.attribution import SharedRows
from pipeline.runtime import StageError
from pipeline.store import Output
from pipeline.store.commits import position_key, prompt_key
from pipeline.store.rows import graph_tables, join_tables
from pipeline.sweep.attribution_work import traced_prompt
from pipeline.sweep.config import AttributionConfig, SweepConfig
from pipeline.sweep.engine import Engine
from pipeline.sweep.inputs import open_inputs
from pipeline.sweep.plan import plan_sweep
from pipeline.sweep.positions import checked_positions, last_position, positions_of
from pipeline.sweep.run import engine_config, run_sweep
from tests.support.sweeps import Make, prompts, quiet, rows
from tests.support.tiny_model import WORDS, tiny_config

RULES = {
    "all": [1, 2, 3, 4, 5],
    "last-2": [4, 5],
    "last-99": [1, 2, 3, 4, 5],
    "last": [5],
    (3, -1): [3, 5],
    (5, -1): [5],
    (2,): [2],
}


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_rule_names_positions(rule: Any) -> None:
    assert positions_of(checked_positions(rule), 6, 1) == RULES[rule]
    assert last_position(checked_positions(rule), 6) == RULES[rule][-1]


def test_positions_without_features_are_left_out_of_all() -> None:
    assert positions_of("all", 6, 4) == [4, 5]
    assert positions_of("last-4", 6, 3) == [3, 4, 5]


@pytest.mark.parametrize(
    ("given", "stored"),
    [("all", "all"), (["last-8"], "last-8"), (3, (3,)), (["3", "-1"], (-1, 3)), ("7", (7,)), ([2, 2], (2,))],
)
def test_a_rule_is_read_from_files_and_command_lines(given: Any, stored: Any) -> None:
    assert AttributionConfig(positions=given).positions == stored


@pytest.mark.parametrize(
    "given", ["most", "last-0", "last-", [], [0], [1.5], [True], None, {"all": 1}, ["all", 1]]
)
def test_what_is_no_rule_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="must be `last`, `all`, `last-8`, `generated` or a list"):
        AttributionConfig(positions=given)


def test_rules_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="keep positions"):
        AttributionConfig(positions="all", position=3)
    with pytest.raises(ValueError, match="positions: generated"):
        AttributionConfig(positions="all", generation={"max_new_tokens": 3})


@pytest.fixture
def config(tiny: Path, tmp_path: Path) -> Any:
    return lambda **changes: tiny_config(tiny, prompts(3), tmp_path, **changes)


def table(config: SweepConfig) -> list[dict[str, Any]]:
    """Rows of `graphs` that a worker would write."""
    inputs, engine = open_inputs(config), Engine(engine_config(config, open_inputs(config)))
    tables = [
        graph_tables(traced_prompt(item, trace, 0))
        for item in inputs.items
        for trace in engine.traces(item.token_ids, item.targets)
    ]
    return join_tables(tables)["graphs"].to_pylist()


def test_each_position_has_a_row_of_its_own(config: Any) -> None:
    found = table(config(attribution={"positions": "all"}))
    assert [row["id"] for row in found[:6]] == [*(f"q0@{k}" for k in range(1, 6)), "q1@1"]
    assert [row["sequence"] for row in found] == [f"q{i}" for i in range(3) for _ in range(5)]
    assert len({row["prompt_key"] for row in found}) == 15
    alone = table(config())
    # The last position is the prompt itself, whatever else is traced.
    for row, same in zip(found[4::5], alone, strict=True):
        assert (row["prompt_key"], row["prediction_id"]) == (same["prompt_key"], same["prediction_id"])
        assert row["sequence_key"] == same["sequence_key"] == prompt_key(row["token_ids"])
    assert found[1]["prompt_key"] == position_key(found[4]["prompt_key"], 2)
    cut = table(config(attribution={"position": 2}))
    assert [row["token_ids"] for row in found[1::5]] == [row["token_ids"] for row in cut]
    assert found[1]["completeness_score"] == pytest.approx(cut[0]["completeness_score"], abs=1e-6)


def test_the_key_is_over_what_is_traced(config: Any) -> None:
    found = table(config(attribution={"positions": [2, 3]}))
    assert found[1]["prompt_key"] == prompt_key(found[1]["token_ids"])
    assert found[0]["sequence_key"] == found[1]["prompt_key"]


def test_a_position_that_a_prompt_does_not_have_is_refused(config: Any) -> None:
    with pytest.raises(StageError, match="position is 9, but the prompt has positions 1 to 5"):
        table(config(attribution={"positions": [2, 9]}))


@torch.inference_mode()
def greedy(engine: Engine, tokens: list[int], steps: int) -> list[int]:
    """Continue by whole forward passes, without a cache."""
    said: list[int] = []
    while len(said) < steps:
        ids = torch.tensor([[*tokens, *said]])
        said.append(int(engine.model.model(input_ids=ids).logits[0, -1].argmax()))
    return said


def test_a_device_with_too_little_memory_gets_smaller_blocks(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = config(attribution={"positions": "last-2"})
    engine, item = (
        Engine(engine_config(setting, open_inputs(setting))),
        next(iter(open_inputs(setting).items)),
    )
    expected = [trace.completeness_score for trace in engine.traces(item.token_ids)]
    tried: list[int] = []
    attribute = SharedRows.attribute

    def short(rows: SharedRows, *arguments: Any) -> Any:
        tried.append(rows._block_pairs)
        if rows._block_pairs > 1024:
            raise torch.OutOfMemoryError("too much")
        return attribute(rows, *arguments)

    monkeypatch.setattr(SharedRows, "attribute", short)
    traces = list(engine.traces(item.token_ids))
    assert tried == [4096, 2048, 1024, 1024]
    assert [trace.block_pairs for trace in traces] == [1024, 1024]
    assert [trace.completeness_score for trace in traces] == pytest.approx(expected)


def test_generated_tokens_are_explained_as_they_come(config: Any) -> None:
    rule = {"positions": "generated", "generation": {"max_new_tokens": 4}}
    engine = Engine(engine_config(setting := config(attribution=rule), open_inputs(setting)))
    for item in open_inputs(setting).items:
        tokens = list(item.token_ids)
        said = greedy(engine, tokens, 4)
        found = [row for row in table(setting) if row["sequence"] == item.id]
        assert [row["generated_index"] for row in found] == [0, 1, 2, 3]
        assert [row["prediction_id"] for row in found] == said
        assert [row["token_ids"] for row in found] == [tokens + said[:step] for step in range(4)]
        assert {row["generated"] for row in found} == {engine.model.tokenizer.decode(said)}
        assert {row["sequence_key"] for row in found} == {prompt_key(tokens)}
        assert found[0]["prompt_key"] == item.key
        alone = engine.trace(found[2]["token_ids"]).graph
        assert found[2]["active_features"] == len(alone.active_features)


def test_generation_ends_with_the_stop_token_which_is_explained_too(config: Any) -> None:
    rule = {"positions": "generated", "generation": {"max_new_tokens": 4}}
    found = table(config(attribution=rule))
    stop = WORDS[found[2]["prediction_id"]]
    first = next(i for i, row in enumerate(found[:4]) if WORDS[row["prediction_id"]] == stop)
    rule["generation"]["stop"] = stop
    stopped = [row for row in table(config(attribution=rule)) if row["sequence"] == "q0"]
    assert [row["prediction_id"] for row in stopped] == [row["prediction_id"] for row in found[: first + 1]]
    assert stop not in stopped[0]["generated"].split()


def test_a_stop_that_is_no_token_is_refused_before_any_worker(config: Any) -> None:
    rule = {"positions": "generated", "generation": {"stop": "nowhere"}}
    with pytest.raises(Exception, match="nowhere"):
        open_inputs(config(attribution=rule))


def test_only_rules_that_matter_change_a_run(config: Any) -> None:
    key = open_inputs(config()).run_key
    assert open_inputs(config(attribution={"positions": "last"})).run_key == key
    assert open_inputs(config(attribution={"positions": "all"})).run_key != key


def test_a_sweep_of_positions_is_done_once_and_sound(make_config: Make, address: str) -> None:
    setting = make_config(prompts(5), attribution={"positions": "last-3"}, shard_size=6)
    assert setting.prompts_a_shard == 2
    report = run_sweep(setting, quiet(), address)
    assert (report.counts.done, report.counts.failed) == (5, 0)
    found = rows(setting)  # which verifies the output
    assert len(found["graphs"]) == 15
    again = run_sweep(setting, quiet(), address)
    assert (again.counts.done, again.counts.already_done) == (0, 5)
    assert rows(setting) == found
    # Positions of one text are one observation.
    clusters = read_groups(Output(setting.output).snapshot(), Grouping()).rows["cluster"].to_pylist()
    assert len(clusters) == 15
    assert len(set(clusters)) == 5


def test_what_several_texts_begin_with_is_one_observation(make_config: Make, address: str) -> None:
    texts = ["w1 w2 w3", "w1 w2 w4", "w9 w2 w3"]
    data = [{"id": f"t{i}", "prompt": text} for i, text in enumerate(texts)]
    setting = make_config(data, attribution={"positions": "all"})
    run_sweep(setting, quiet(), address)
    found = read_groups(Output(setting.output).snapshot(), Grouping()).rows.to_pylist()
    by_tokens: dict[tuple[int, ...], set[int]] = {}
    for row in found:
        by_tokens.setdefault(tuple(row["token_ids"]), set()).add(row["cluster"])
    assert len(found) == 9
    assert all(len(clusters) == 1 for clusters in by_tokens.values())
    assert len({row["cluster"] for row in found}) == 3


def test_labels_are_joined_by_text(make_config: Make, address: str, tmp_path: Path) -> None:
    setting = make_config(prompts(2), attribution={"positions": "last-2"})
    run_sweep(setting, quiet(), address)
    labels = tmp_path / "labels.csv"
    labels.write_text("id,topic\nq0,a\nq1,b\n")
    groups = read_groups(Output(setting.output).snapshot(), Grouping(by="topic", labels=labels))
    assert groups.sizes == {"a": 2, "b": 2}


def test_a_plan_counts_all_positions(config: Any) -> None:
    one, several = (plan_sweep(config(attribution={"positions": rule})) for rule in ("last", "last-3"))
    assert (one.graphs, several.graphs) == (3, 9)
    assert several.counts.count == 3
    assert several.forecast.output_bytes.total > 1.5 * one.forecast.output_bytes.total
    generated = {"positions": "generated", "generation": {"max_new_tokens": 4}}
    assert plan_sweep(config(attribution=generated)).graphs == 12
