"""One graph of the built-in model, judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline import attribute, prune
from pipeline.graph.attribution_graph import NodeKind
from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.intervene import intervene
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.intervention_batch import InterventionBatch
from pipeline.intervention.mode import DEFAULT
from pipeline.validation.config import ValidationConfig
from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.faithfulness.effects import OutputMetrics
from pipeline.validation.faithfulness.graph_validation import MODES, validate_graph

PROMPT = "The capital of the state containing Dallas is"
MEASURED = ("seconds",)


@pytest.fixture(scope="module")
def circuit(demo) -> Circuit:
    graph = attribute(demo, PROMPT)
    pruned = prune(graph)
    kept = (pruned.kind == NodeKind.FEATURE).nonzero()[:, 0]
    edges = torch.zeros(len(pruned.kind), len(pruned.kind), dtype=torch.float64)
    edges[pruned.target.long(), pruned.source.long()] = pruned.weight.double()
    return Circuit(
        token_ids=tuple(graph.input_tokens.tolist()),
        targets=np.array([target.token_id for target in graph.targets]),
        features=torch.stack((pruned.layer, pruned.position, pruned.feature), 1)[kept].long().numpy(),
        activations=pruned.activation[kept].double().numpy(),
        influence=pruned.influence[kept].double().numpy(),
        active=graph.active_features.numpy(),
        active_activations=graph.activations.double().numpy(),
        edges=edges[kept][:, kept].numpy(),
    )


def _judged(demo, circuit, seed=0, **changes):
    return validate_graph(demo, circuit, ValidationConfig(**changes), np.random.default_rng(seed))


def test_the_same_seed_gives_the_same_verdict(demo, circuit):
    first, second = _judged(demo, circuit), _judged(demo, circuit)
    assert first.validations == second.validations
    for name in first.faithfulness.keys() - set(MEASURED):
        assert first.faithfulness[name] == second.faithfulness[name]
    other = _judged(demo, circuit, seed=1)
    nulls = [row["null_log_probabilities"] for row in first.validations if row["test"] == "necessity"]
    assert nulls != [row["null_log_probabilities"] for row in other.validations if row["test"] == "necessity"]


def test_every_test_is_there_as_often_as_asked(demo, circuit):
    rows = _judged(demo, circuit, ablations=5, sources=3, draws=25, top=4).validations
    counts = {name: sum(row["test"] == name for row in rows) for name in {row["test"] for row in rows}}
    assert counts == {
        "node_ablation": 5,
        "feature_to_feature": 3,
        "necessity": 2,
        "sufficiency": 1,
        "sufficiency_without_errors": 1,
    }
    assert all(len(row["null_log_probabilities"]) == 25 for row in rows if row["test"] == "necessity")
    assert [row["features"] for row in rows if row["test"] == "necessity"] == [len(circuit.features), 4]


@pytest.mark.parametrize("mode", ["default", "open"])
def test_an_ablation_row_is_what_the_model_does(demo, circuit, mode):
    row = next(row for row in _judged(demo, circuit, mode=mode).validations if row["test"] == "node_ablation")
    before = intervene(demo, PROMPT, []).logits[-1].double()
    ablate = Intervention(row["layer"], row["position"], row["feature"], 0.0)
    after = intervene(demo, PROMPT, [ablate], MODES[mode]).logits[-1].double()
    target = int(circuit.targets[0])
    divergence = torch.nn.functional.kl_div(
        after.log_softmax(0), before.log_softmax(0), log_target=True, reduction="sum"
    )
    assert row["divergence"] == pytest.approx(float(divergence), rel=1e-2, abs=1e-9)
    assert row["log_probability"] == pytest.approx(float(after.log_softmax(0)[target]), abs=1e-5)
    change = after - before
    weighted = abs(float(change[target] - change.mean())) * float(before.softmax(0)[target])
    assert row["effect"] == pytest.approx(weighted, abs=1e-4)


def test_nothing_changed_is_nothing_observed(demo, circuit):
    base = BaseRun.of(demo, [list(circuit.token_ids)])
    metrics = OutputMetrics.of(base, circuit)
    effects = metrics.run(base, InterventionBatch.of(base, [[]]), DEFAULT)
    assert effects.effect[0] == pytest.approx(0, abs=1e-4)
    assert effects.divergence[0] == pytest.approx(0, abs=1e-9)
    assert effects.logit_difference[0] == pytest.approx(
        float(base.logits[0, circuit.targets[0]] - base.logits[0, metrics.rival]), abs=1e-4
    )


def test_where_no_target_is_a_token_the_models_answer_is_watched(demo, circuit):
    direction = replace(circuit, targets=np.array([], dtype=int))
    assert _judged(demo, direction).faithfulness["target"] == int(circuit.targets[0])


def test_a_later_feature_is_watched_where_the_range_ends(demo, circuit):
    rows = [row for row in _judged(demo, circuit).validations if row["test"] == "feature_to_feature"]
    for row in rows:
        assert row["range_start"] == row["layer"] == row["range_stop"] - 1
        assert row["pairs"] == (circuit.features[:, 0] > row["layer"]).sum()
