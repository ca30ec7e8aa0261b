"""Steering: what is understood, what the table holds, what the built-in model says."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from jobs.cli import BAD_INPUT
from jobs.cli import main as circuit_sweep
from pipeline.errors import InterventionError
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.steering import at_strength, parse_intervention, steer
from schemas import STEERING
from tests.support.random_models import Recipe, random_model

PROMPT = "w7 w12 w30"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2/350=4", Intervention(2, "all", 350, value=4.0)),
        ("2/350=-0.5", Intervention(2, "all", 350, value=-0.5)),
        ("0/7=x0", Intervention(0, "all", 7, factor=0.0)),
        ("0/7@-1=x1.5", Intervention(0, -1, 7, factor=1.5)),
    ],
)
def test_what_is_written_is_understood(text, expected):
    assert parse_intervention(text) == expected


@pytest.mark.parametrize("text", ["2/350", "2=4", "a/b=1", "2/350=much", "2/350=x", "", "2/3@=1", "2/350x=1"])
def test_what_is_not_is_met_with_the_right_way(text):
    with pytest.raises(InterventionError) as caught:
        parse_intervention(text)
    assert repr(text) in str(caught.value)
    assert "2/350@8" in str(caught.value)


def test_a_feature_with_a_colon_is_met_with_a_slash():
    with pytest.raises(InterventionError, match=r"1/81@3"):
        parse_intervention("1:81@3=0.5")


def test_strength_scales_a_value_and_a_factors_distance_from_one():
    value, factor = parse_intervention("1/2=3"), parse_intervention("1/2=x0")
    assert [item.amount for item in at_strength([value, factor], 2.0)] == [6.0, -1.0]
    assert at_strength([value], 0.0) == []


def test_changes_are_against_the_clean_model():
    model = random_model(Recipe())
    rows = steer(model, PROMPT, [Intervention(0, "all", 4, 6.0)], [1.0, 2.0], tokens=[5, 9], max_new_tokens=2)
    assert [row.strength for row in rows] == [0.0, 1.0, 2.0]
    for row in rows:
        assert [watched.token_id for watched in row.logits] == [5, 9]
        for watched, before in zip(row.logits, rows[0].logits, strict=True):
            assert watched.change == pytest.approx(watched.logit - before.logit, abs=1e-5)
    assert rows[2].logits[0].change != rows[1].logits[0].change != 0


def test_the_command_writes_the_table_it_prints(tmp_path, capsys):
    sweep, output = tmp_path / "sweep.yaml", tmp_path / "steering.parquet"
    sweep.write_text("model: demo\ntranscoders: demo\n")
    arguments = ["--feature", "1/81=0.5", "--prompts", "The capital of Texas is", "The capital of Ohio is"]
    arguments += ["--strengths", "1", "8", "--tokens", "Austin", "--output", str(output)]
    assert circuit_sweep(["steer", str(sweep), *arguments]) == 0
    table = pq.read_table(output)
    assert table.schema.equals(STEERING.schema)
    rows = table.to_pylist()
    assert [(row["prompt"], row["strength"]) for row in rows] == [
        (prompt, strength) for prompt in arguments[3:5] for strength in (0, 1, 8)
    ]
    assert rows[0]["continuation"].startswith("Austin")
    assert {watched["token"] for row in rows for watched in row["logits"]} == {"Austin"}
    assert circuit_sweep(["steer", str(sweep), *arguments[:-2]]) == 0
    printed = capsys.readouterr().out
    assert "The capital of Ohio is" in printed
    assert "strength" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--feature", "9/81=0.5", "--prompts", "The capital"], "layers run from 0 to 3"),
        (["--feature", "1/81", "--prompts", "The capital"], "2/350=4"),
        (
            ["--feature", "1/81=1", "--prompts", "The capital", "--tokens", "Nowhere"],
            "'Nowhere' is not",
        ),
    ],
)
def test_mistakes_are_named(tmp_path, capsys, arguments, message):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("model: demo\ntranscoders: demo\n")
    assert circuit_sweep(["steer", str(sweep), *arguments]) == BAD_INPUT
    assert message in capsys.readouterr().err
