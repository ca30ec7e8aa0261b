"""What `check` finds, and that it sees what is wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from jobs import cli
from pipeline.builtin import MODEL, TRANSCODERS
from pipeline.inspection.check import check_model
from pipeline.inspection.reference import largest_deviation
from tests.support.random_models import Recipe, random_model
from tests.support.recipes import RECIPES, TOKENS, recipe_name
from tests.support.tiny_model import make_model

DEMO_TEXTS = ["The capital of the state containing Dallas is", "The capital of France is"]


def _found(*arguments, **options) -> dict[str, list]:
    found: dict[str, list] = {}
    for finding in check_model(*arguments, **options):
        found.setdefault(finding.subject, []).append(finding)
    return found


def test_a_dictionary_that_fits_is_said_to(capsys):
    assert cli.main(["check", "demo", "demo", "--device", "cpu", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    fit = [row for row in rows if row["subject"] == "fit"]
    assert [row["layer"] for row in fit] == [0, 1, 2, 3]
    assert all(0 < row["fvu"] < 0.1 and 1 < row["l0"] < 100 for row in fit)
    subjects = {row["subject"] for row in rows}
    assert {"architecture", "tensors", "hook point", "special tokens", "reads and writes"} <= subjects
    assert [row["found"] for row in rows if row["subject"] == "format"] == ["circuit-tracer"]
    assert not any(row["problem"] for row in rows)


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_refused(device, capsys):
    assert cli.main(["check", "demo", "--device", device]) == 2
    assert f"--device '{device}' cannot be used" in capsys.readouterr().err


def test_a_wrong_hook_point_is_a_problem(tmp_path, capsys):
    folder = shutil.copytree(TRANSCODERS, tmp_path / "set")
    path = folder / "config.yaml"
    changed = yaml.safe_load(path.read_text()) | {"feature_input_hook": "hook_resid_mid"}
    path.write_text(yaml.safe_dump(changed))
    assert cli.main(["check", "demo", str(folder)]) == 1
    assert "worse than nothing" in capsys.readouterr().out


def test_the_fit_is_measured_against_what_the_mlp_writes():
    """FVU by hand: a dictionary without features leaves everything but its bias."""
    found = _found(MODEL, TRANSCODERS, DEMO_TEXTS)["fit"]
    neurons = _found(MODEL, "neurons", DEMO_TEXTS)["fit"]
    assert all(each.fvu < 1e-9 for each in neurons)
    few = _found(MODEL, "neurons:1", DEMO_TEXTS)["fit"]
    assert all(each.l0 == 1 and each.fvu > other.fvu for each, other in zip(few, found, strict=True))


def test_what_cannot_be_used_is_the_finding(tmp_path):
    folder = Path(make_model(tmp_path / "model"))
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 3}))
    (finding,) = _found(str(folder))["cannot be used"]
    assert finding.problem
    assert "lacks tensors" in finding.found


def test_lines_that_the_vocabulary_does_not_have_are_said(tmp_path):
    found = _found(make_model(tmp_path / "model"), texts=["w1 w2 w3", "Dallas"])
    assert found["text"][0].found.startswith("1 of 2 lines")
    assert not found["reference"][0].problem


@pytest.mark.parametrize("recipe", RECIPES, ids=recipe_name)
def test_every_architecture_agrees_with_the_reference(recipe):
    model = random_model(recipe, torch.float32)
    assert largest_deviation(model, torch.tensor(TOKENS)) < 1e-5


def test_a_model_that_is_traced_wrongly_is_noticed():
    model = random_model(Recipe("gpt_neox", key_value_heads=4), torch.float32)
    taken_for_serial = replace(model, architecture=replace(model.architecture, parallel=False))
    assert largest_deviation(taken_for_serial, torch.tensor(TOKENS)) > 1e-2
