"""The live model: the numbers of `pipeline.intervention` and the sweep, whatever becomes of its process."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import CircuitSweepError
from pipeline.intervention import DEFAULT, OPEN, Intervention, intervene
from pipeline.results import Results
from pipeline.store import Output
from pipeline.sweep_model import recorded_model
from pipeline.viewer.live.child import _error
from pipeline.viewer.live.loaded import Loaded
from pipeline.viewer.live.model import LiveModel
from pipeline.viewer.questions import RefusedError
from tests.support.live_sweep import PROMPTS

CHANGE = {"node": "0/1@2", "kind": "set", "value": 1}


@pytest.fixture(scope="module")
def url(live_url):
    return live_url


@pytest.fixture(scope="module")
def server(live_server):
    return live_server


@pytest.fixture(scope="module")
def model(url):
    return recorded_model(Output(url)).load("cpu")


def prompt_and_feature(url):
    results = Results(url)
    key, ids = results.sql("select prompt_key, token_ids from graphs where id = 'p0'").fetchall()[0]
    cell = results.sql(
        f"select layer, position, feature from nodes where kind = 'feature' and prompt_key = {key} "
        "order by influence desc limit 1"
    ).fetchall()[0]
    return ids, cell


@pytest.mark.parametrize(("word", "mode"), [("direct", DEFAULT), ("full", OPEN)])
@pytest.mark.parametrize(("kind", "value"), [("scale", 0), ("scale", 2.5), ("set", 3.0)])
def test_a_run_is_the_intervention_to_the_last_bit_and_prints_what_repeats_it(
    server, url, model, word, mode, kind, value
):
    ids, (layer, position, feature) = prompt_and_feature(url)
    change = {"node": f"{layer}/{feature}@{position}", "kind": kind, "value": value}
    found = server.ask("/api/live/run", "POST", {"key": "p0", "changes": [change], "mode": word}).json
    amount = {"factor" if kind == "scale" else "value": float(value)}
    outcome = intervene(model, torch.tensor(ids), [Intervention(layer, position, feature, **amount)], mode)
    after = outcome.logits[-1].float().softmax(-1)
    assert [row["after"] for row in found["tokens"]] == [
        float(after[row["token_id"]]) for row in found["tokens"]
    ]
    for row in found["activations"]:
        name, at = row["node"].split("@")
        at_layer, number = map(int, name.split("/"))
        assert row["after"] == float(outcome.activations[at_layer][int(at), number])
    printed = StringIO()
    with redirect_stdout(printed):
        exec(found["printed"], {})
    assert eval(printed.getvalue()) == [row["after"] for row in found["tokens"]]


def test_the_clean_run_is_what_the_sweep_stored_and_a_factor_of_1_changes_nothing(server, url):
    _, (layer, position, feature) = prompt_and_feature(url)
    change = {"node": f"{layer}/{feature}@{position}", "kind": "scale", "value": 1}
    found = server.ask("/api/live/run", "POST", {"key": "p0", "changes": [change]}).json
    by_token = {row["token_id"]: row for row in found["tokens"]}
    stored = "select prediction_id, prediction_probability from graphs where id = 'p0'"
    ((token, probability),) = Results(url).sql(stored).fetchall()
    assert by_token[token]["before"] == pytest.approx(probability, abs=1e-6)
    assert found["differs"] is None
    for row in found["tokens"]:
        assert row["after"] == pytest.approx(row["before"], abs=1e-6)
    kept = "select layer, feature, position, activation from nodes where id = 'p0' and kind = 'feature'"
    activations = {f"{layer}/{f}@{p}": a for layer, f, p, a in Results(url).sql(kept).fetchall()}
    assert {row["node"]: row["before"] for row in found["activations"]} == pytest.approx(
        activations, rel=1e-5
    )


def scaled(node, value):
    return {"node": node, "kind": "scale", "value": value}


def test_doses_and_effects_are_runs_in_a_batch(server, url):
    _, (layer, position, feature) = prompt_and_feature(url)
    node = f"{layer}/{feature}@{position}"
    curve = server.ask("/api/live/dose", "POST", {"key": "p0", "change": scaled(node, 0)}).json
    single = server.ask("/api/live/run", "POST", {"key": "p0", "changes": [scaled(node, 2)]}).json
    after = {row["token_id"]: row["after"] for row in single["tokens"]}
    at_1, at_2 = curve["strengths"].index(1.0), curve["strengths"].index(2.0)
    for token in curve["tokens"]:
        assert token["probabilities"][at_1] == pytest.approx(token["clean"], abs=1e-5)
        if token["token_id"] in after:
            assert token["probabilities"][at_2] == pytest.approx(after[token["token_id"]], abs=1e-5)
    effects = server.ask("/api/live/effects", "POST", {"key": "p0"}).json["effects"]
    kept = (
        Results(url).sql("select count(*) from nodes where id = 'p0' and kind = 'feature'").fetchall()[0][0]
    )
    assert len(effects) == kept


def test_a_typed_prompt_is_traced_as_the_sweep_traced_it_and_is_not_stored(server, url):
    stored, arrays = server.ask("/api/graph/p0").arrays
    question = {"text": PROMPTS[0], "target": None, "chat": False}
    typed, traced = server.ask("/api/live/trace", "POST", question).arrays
    assert typed["typed"]
    assert typed["prompt"]["token_ids"] == stored["prompt"]["token_ids"]
    assert arrays.keys() == traced.keys()
    for name, values in arrays.items():
        assert np.array_equal(values, traced[name], equal_nan=values.dtype.kind == "f"), name
    server.ask("/api/live/trace", "POST", {"text": "w5 w6 w7"})
    assert Results(url).sql("select count(*) from graphs").fetchall() == [(len(PROMPTS),)]
    assert not list(Path(server.server.viewer.model.loaded.folder).iterdir())


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("run", {"key": "p0", "changes": []}, "there are 0 changes"),
        (
            "run",
            {"key": "p0", "changes": [CHANGE] * 257},
            "257 changes",
        ),
        ("run", {"key": "p0", "changes": [{"node": "99/1@2", "kind": "scale", "value": 0}]}, "layer"),
        ("run", {"key": "p0", "changes": [{"node": "0:1", "kind": "scale", "value": 0}]}, "feature '0:1'"),
        ("run", {"key": "p0", "changes": [{"node": "0/1@2", "kind": "joke", "value": 0}]}, "kind"),
        ("run", {"key": "p0", "changes": [{"node": "0/1@2", "kind": "set", "value": "x"}]}, "a number"),
        (
            "run",
            {"key": "p0", "changes": [CHANGE], "mode": "x"},
            "mode 'x'",
        ),
        ("run", {"key": "nothing", "changes": []}, "no graph"),
        (
            "dose",
            {"key": "p0", "change": CHANGE, "strengths": [1] * 65},
            "65",
        ),
        ("trace", {"text": ""}, "empty"),
        ("trace", {"text": "w1", "chat": True}, "no chat template"),
        ("trace", {"text": ["a"]}, "needs a text"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name_and_the_process_lives(server, path, body, words):
    before = server.server.viewer.model.state().get("pid")
    refused = server.ask(f"/api/live/{path}", "POST", body)
    assert refused.status in (400, 404)
    assert words in refused.json["error"]["message"]
    assert server.server.viewer.model.state().get("pid", before) == before or before is None


def ask_in_thread(live, found, **more):
    def ask():
        try:
            found.append(live.ask("trace", {"text": "w1 w2"}, more.get("name", "n"), more.get("slot", "s")))
        except CircuitSweepError as error:
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_a_process_that_is_killed_hangs_or_is_superseded_is_told_and_the_next_question_goes_on(url, tmp_path):
    live = LiveModel(Loaded(url, "cpu", folder=str(tmp_path)), answer_seconds=60)
    try:
        assert live.ask("trace", {"text": "w1 w2"}, "a", "a")["output"]
        pid = live.state()["pid"]
        os.kill(pid, signal.SIGSTOP)  # it works for ever
        told: list = []
        first = ask_in_thread(live, told, name="first", slot="one")
        while not live._line:
            time.sleep(0.01)
        older = ask_in_thread(live, told, name="older", slot="slider")
        while len(live._line) < 2:
            time.sleep(0.01)
        newer = ask_in_thread(live, told, name="newer", slot="slider")
        older.join(10)
        assert "superseded" in str(told[0])
        os.kill(pid, signal.SIGKILL)
        first.join(10)
        assert "died, by SIGKILL" in str(told[1])
        newer.join(120)
        assert "output" in told[2]
        assert live.state()["pid"] != pid
        live.answer_seconds = 0.5
        os.kill(live.state()["pid"], signal.SIGSTOP)
        with pytest.raises(RefusedError, match="took longer than"):
            live.ask("trace", {"text": "w1 w2"}, "b", "b")
        assert live.state()["state"] == "off"
    finally:
        live.close()


def test_a_model_that_changed_since_the_sweep_is_not_loaded(url, tmp_path):
    file = next(Path(url).parent.glob("files/model/config.json"))
    old = file.read_text()
    file.write_text(old + "\n")
    live = LiveModel(Loaded(url, "cpu", folder=str(tmp_path)))
    try:
        with pytest.raises(RefusedError, match="changed since the sweep"):
            live.ask("trace", {"text": "w1 w2"}, "a", "a")
    finally:
        file.write_text(old)
        live.close()


def test_a_want_of_memory_is_an_answer():
    said = _error(torch.OutOfMemoryError("CUDA out of memory"))
    assert "not enough memory" in said["message"]
    assert said["way_out"]
    assert "bug" in _error(KeyError("x"))["message"]
