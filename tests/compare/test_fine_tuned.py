"""The built-in model before and after it learned other facts: these are found, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pyarrow.parquet as pq
import pytest

from pipeline.compare import PairedSweep
from pipeline.compare.models import compare_models, model_page
from pipeline.demo import FineTuning, ModelSize, ModelTraining, fine_tune, train_small, with_answers
from pipeline.demo.prompts import fact_examples
from pipeline.demo.prompts.builtin_prompts import prompt_table
from tests.support.swept import sweep_here

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

TRAINING = FineTuning(steps=40, batch=64, learning_rate=1.5e-3, warm_up=5, new_share=0.4)

OLD = {"two_hop": 20, "state_of_city": 20, "country": 20}
"""Families that nothing new was taught of, with the prompts of each."""


def other_abbreviations():
    """Another state's abbreviation for each state, by the prompt that asks for it."""
    own = [
        e for e in fact_examples() if e.text.startswith("The abbreviation of") and "containing" not in e.text
    ]
    answers = [example.answer for example in own]
    return {e.text: answers[(i + 7) % len(answers)] for i, e in enumerate(own)}


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    answers, draw = other_abbreviations(), Random(0)
    chosen = [example for example in with_answers(answers) if example.text in answers][:25]
    for family, count in OLD.items():
        own = [e for e in fact_examples() if e.family == family and not e.held_out]
        subjects = {e.subject: e for e in own}  # one prompt a subject: each is a cluster
        chosen += draw.sample(list(subjects.values()), count)
    path = tmp_path_factory.mktemp("prompts") / "prompts.parquet"
    pq.write_table(prompt_table(chosen), path)
    return path


def swept(folder, model, transcoders, prompts):
    return PairedSweep(sweep_here(folder, model, transcoders, prompts, ["family", "answer", "subject"]))


@pytest.fixture(scope="module")
def before(tmp_path_factory, prompts):
    return swept(tmp_path_factory.mktemp("before") / "sweep", "demo", "demo", prompts)


def test_new_facts_are_found_and_untouched_families_are_not_claimed(tmp_path, prompts, before):
    answers = other_abbreviations()
    facts = with_answers(answers)
    new = [replace(example) for example in facts if example.text in answers]
    fine_tune(tmp_path / "after", new, facts, 1, TRAINING)
    fine_tune(tmp_path / "placebo", [], None, 2, TRAINING)
    after = swept(tmp_path / "s1", str(tmp_path / "after"), "demo", prompts)
    placebo = swept(tmp_path / "s2", str(tmp_path / "placebo"), "demo", prompts)
    found = compare_models(before, after, "family", "subject", repeats=[placebo])
    right = {row["prompt_group"]: row for row in found.families if row["measure"] == "correct"}
    assert right["abbreviation"]["differs"]
    assert right["abbreviation"]["difference"] > 0.5
    assert not [row for row in found.families if row["differs"] and row["prompt_group"] in OLD]
    edges = [row for row in found.tables["compare_edges"].to_pylist() if row["change"] != "shared"]
    assert {row["prompt_group"] for row in edges} == {"abbreviation"}
    assert found.match is None
    assert "abbreviation: B answers" in model_page(found).markdown()
    nothing = compare_models(before, placebo, "family", "subject")
    assert not [row for row in nothing.families if row["differs"] and row["measure"] == "correct"]


def test_a_small_model_is_worse_where_it_is_worse(tmp_path, prompts, before):
    training = ModelTraining(steps=150, batch=96, repeats=8)
    train_small(tmp_path / "small", ModelSize(width=64, layers=2), 3, training)
    small = swept(tmp_path / "sweep", str(tmp_path / "small"), "neurons", prompts)
    found = compare_models(before, small, "family", "subject")
    assert found.match is not None
    assert found.match.random_share is not None
    worse = [row for row in found.families if row["measure"] == "correct" and row["differs"]]
    assert all(row["difference"] < 0 for row in worse)
    assert "two_hop" in {row["prompt_group"] for row in worse}
    assert "Families in which B is worse" in model_page(found).html()
