"""What the live model answers beside runs: what is taken from other prompts, scores of a part, features."""

from __future__ import annotations

import statistics
from contextlib import redirect_stdout
from io import StringIO

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from pipeline.export.logits import promoted_tokens
from pipeline.features import FeatureName
from pipeline.graph import subgraph_scores
from pipeline.intervention import BaseRun, Intervention, intervene
from pipeline.results import Results
from pipeline.retrace import retrace
from pipeline.store import Output
from pipeline.sweep_model import recorded_model
from pipeline.token_labels import printable_token
from pipeline.viewer.live_answers import SAME, _differs


@pytest.fixture(scope="module")
def model(live_url):
    return recorded_model(Output(live_url)).load("cpu")


@pytest.fixture(scope="module")
def graphs(live_url):
    rows = Results(live_url).sql("select * from graphs order by id").to_arrow_table().to_pylist()
    return {row["id"]: row for row in rows}


def active_feature(url, id):
    """(layer, feature, position) of the feature of most influence on a prompt that acts at its end."""
    return (
        Results(url)
        .sql(
            "select layer, feature, position from nodes join graphs using (prompt_key, id) "
            f"where kind = 'feature' and id = '{id}' and position = positions - 1 "
            "order by influence desc limit 1"
        )
        .fetchall()[0]
    )


def activation(model, token_ids, layer, feature, position):
    base = BaseRun.of(model, [torch.tensor(token_ids)])
    return float(model.transcoders.layers[layer].encode(base.layers[layer].read[0])[position, feature])


@pytest.mark.parametrize("at", [None, 3])
def test_what_is_taken_is_the_other_prompts_activation(live_server, live_url, model, graphs, at):
    layer, feature, position = active_feature(live_url, "p0")
    other = graphs["p1"]["token_ids"]
    there = len(other) - (len(graphs["p0"]["token_ids"]) - position) if at is None else at
    assert there >= 1
    value = activation(model, other, layer, feature, there)
    change = {"node": f"{layer}/{feature}@{position}", "kind": "take", "from": "p1", "at": at}
    found = live_server.ask("/api/live/run", "POST", {"key": "p0", "changes": [change]}).json
    assert found["changes"][0]["value"] == pytest.approx(value, rel=1e-5, abs=1e-7)
    set_to = found["changes"][0]["value"]
    ids = torch.tensor(graphs["p0"]["token_ids"])
    outcome = intervene(model, ids, [Intervention(layer, position, feature, value=set_to)])
    after = outcome.logits[-1].float().softmax(-1)
    assert all(row["after"] == float(after[row["token_id"]]) for row in found["tokens"])
    assert f"{layer}/{feature}@{there} of p1" in found["printed"]
    printed = StringIO()
    with redirect_stdout(printed):
        exec(found["printed"], {})
    assert eval(printed.getvalue()) == [row["after"] for row in found["tokens"]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"node": "0/1@2", "kind": "take", "from": "p1", "at": 99}, "has positions 0 to 4"),
        ({"node": "0/1@2", "kind": "take", "from": "p1", "at": 0}, "features stand at positions"),
        ({"node": "0/1@1", "kind": "take", "from": "p2"}, "has positions 0 to 3"),
        ({"node": "0/1", "kind": "take", "from": "p1"}, "needed here"),
        ({"node": "0/1@2", "kind": "take", "from": "nobody"}, "nobody"),
        ({"node": "0/9999@2", "kind": "take", "from": "p1"}, "features of that layer"),
    ],
)
def test_what_cannot_be_taken_is_refused_by_name(live_server, change, words):
    refused = live_server.ask("/api/live/run", "POST", {"key": "p0", "changes": [change]})
    assert refused.status in (400, 404)
    assert words in refused.json["error"]["message"]


def test_effects_are_single_runs_and_say_how_influence_ranks_them(live_server, live_url):
    found = live_server.ask("/api/live/effects", "POST", {"key": "p0"}).json
    assert found["differs"] is None
    for row in found["effects"][:3]:
        change = {"node": row["node"], "kind": "set", "value": 0}
        single = live_server.ask("/api/live/run", "POST", {"key": "p0", "changes": [change]}).json
        (of_target,) = [token for token in single["tokens"] if token["label"] == found["target"]]
        assert row["logit"] == pytest.approx(of_target["logit_change"], abs=1e-5)
    influence = dict(
        Results(live_url)
        .sql(
            "select concat(layer, '/', feature, '@', position), influence from nodes "
            "where id = 'p0' and kind = 'feature'"
        )
        .fetchall()
    )
    ranks = [
        pc.rank(pa.array(values), tiebreaker="min").to_pylist()
        for values in (
            [influence[row["node"]] for row in found["effects"]],
            [abs(row["logit"]) for row in found["effects"]],
        )
    ]
    assert found["by_influence"] == pytest.approx(statistics.correlation(*ranks), abs=0.02)
    assert -1 <= found["by_activation"] <= 1


def test_a_part_is_scored_as_show_scores_it(live_server, live_url, graphs):
    rows = (
        Results(live_url)
        .sql("select layer, position, feature from nodes where id = 'p0' and kind = 'feature' order by all")
        .fetchall()
    )
    whole = retrace(Output(live_url), graphs["p0"])
    for cells in (rows, rows[::3], rows[:1], []):
        nodes = [f"{layer}/{feature}@{position}" for layer, position, feature in cells]
        found = live_server.ask("/api/live/subgraph", "POST", {"key": "p0", "nodes": nodes}).json
        assert (found["replacement"], found["completeness"]) == subgraph_scores(whole, cells)
    refused = live_server.ask("/api/live/subgraph", "POST", {"key": "p0", "nodes": ["1/2"]})
    assert "1/2@8" in refused.json["error"]["message"]


def test_promoted_tokens_are_those_of_show(live_server, live_url, model):
    layer, feature, _ = active_feature(live_url, "p0")
    found = live_server.ask("/api/live/promoted", "POST", {"feature": f"{layer}/{feature}"}).json
    promotes, suppresses = promoted_tokens(model, FeatureName(layer, feature))
    assert found["promotes"] == [printable_token(token) for token in promotes]
    assert found["suppresses"] == [printable_token(token) for token in suppresses]
    refused = live_server.ask("/api/live/promoted", "POST", {"feature": "77/1"})
    assert "no feature 77/1" in refused.json["error"]["message"]


def test_an_ablation_on_many_prompts_is_one_on_each(live_server, live_url, model, graphs):
    layer, feature, _ = active_feature(live_url, "p0")
    found = live_server.ask("/api/live/ablate", "POST", {"feature": f"{layer}/{feature}"}).json
    active = (
        Results(live_url)
        .sql(
            "select count(distinct prompt_key) from activations "
            f"where layer = {layer} and feature = {feature}"
        )
        .fetchall()[0][0]
    )
    assert len(found["rows"]) == found["active"] == active
    for row in found["rows"]:
        ids = graphs[row["id"]]["token_ids"]
        target = graphs[row["id"]]["targets"][0]["token_ids"][0]
        outcome = intervene(model, ids, [Intervention(layer, "all", feature, value=0.0)])
        clean = BaseRun.of(model, [torch.tensor(ids)]).logits[0].float()
        change = outcome.logits[-1].float() - clean
        assert row["effect"] == pytest.approx(float(change[target] - change.mean()), abs=1e-4)
        assert row["after"] == pytest.approx(float(outcome.logits[-1].softmax(-1)[target]), abs=1e-5)
    effects = [row["effect"] for row in found["rows"]]
    assert found["median"]["middle"] == pytest.approx(statistics.median(effects))
    assert found["median"]["low"] <= found["median"]["middle"] <= found["median"]["high"]
    assert found["random"] is not None
    one = live_server.ask("/api/live/ablate", "POST", {"feature": f"{layer}/{feature}", "count": 1}).json
    assert one["rows"] == [pytest.approx(row, abs=1e-5) for row in found["rows"][:1]]
    for body, words in (
        ({"feature": "0/1", "count": 0}, "count=0"),
        ({"feature": "1/23456"}, "active on no prompt"),
        ({"feature": "1/2@3"}, "position"),
    ):
        assert words in live_server.ask("/api/live/ablate", "POST", body).json["error"]["message"]


def test_a_model_that_says_something_else_than_the_table_is_told():
    prompt = {
        "targets": [{"kind": "token", "token_ids": [5], "probability": 0.25}],
        "prediction_id": 7,
        "prediction_probability": 0.5,
    }
    assert _differs(prompt, [0.25, 0.5 - SAME / 2]) is None
    assert _differs(prompt, [0.25, 0.48]) == pytest.approx(0.02)
