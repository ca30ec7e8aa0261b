"""One graph of the built-in model, judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline import attribute, prune
from pipeline.attribution.targets import Difference, FeatureTarget, TargetSpec
from pipeline.errors import TargetError
from pipeline.graph.attribution_graph import NodeKind, Target
from pipeline.intervention.base_run import BaseRun
from pipeline.intervention.intervene import intervene
from pipeline.intervention.intervention import Intervention
from pipeline.intervention.intervention_batch import InterventionBatch
from pipeline.intervention.mode import DEFAULT
from pipeline.validation.config import ValidationConfig
from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.faithfulness.effects import OutputMetrics
from pipeline.validation.faithfulness.explained_target import ExplainedTarget
from pipeline.validation.faithfulness.graph_validation import MODES, validate_graph

PROMPT = "The capital of the state containing Dallas is"
MEASURED = ("seconds",)


def _explained(target: Target) -> ExplainedTarget:
    cell = None if target.feature is None else (target.layer, target.position, target.feature)
    return ExplainedTarget(target.kind, target.probability, target.tokens, cell)


def _circuit(demo, prompt: str, targets: TargetSpec = None) -> Circuit:
    graph = attribute(demo, prompt, targets)
    pruned = prune(graph)
    kept = (pruned.kind == NodeKind.FEATURE).nonzero()[:, 0]
    is_target = pruned.kind == NodeKind.LOGIT
    weights = torch.tensor([target.probability for target in graph.targets], dtype=torch.float64)
    edges = torch.zeros(len(pruned.kind), len(pruned.kind), dtype=torch.float64)
    edges[pruned.target.long(), pruned.source.long()] = pruned.weight.double()
    return Circuit(
        token_ids=tuple(graph.input_tokens.tolist()),
        targets=tuple(map(_explained, graph.targets)),
        features=torch.stack((pruned.layer, pruned.position, pruned.feature), 1)[kept].long().numpy(),
        activations=pruned.activation[kept].double().numpy(),
        influence=pruned.influence[kept].double().numpy(),
        active=graph.active_features.numpy(),
        active_activations=graph.activations.double().numpy(),
        edges=edges[kept][:, kept].numpy(),
        direct=(weights @ edges[is_target][:, kept].abs()).numpy(),
    )


@pytest.fixture(scope="module")
def circuit(demo) -> Circuit:
    return _circuit(demo, PROMPT)


def _judged(demo, circuit, seed=0, **changes):
    return validate_graph(demo, circuit, ValidationConfig(**changes), np.random.default_rng(seed))


def test_the_same_seed_gives_the_same_verdict(demo, circuit):
    first, second = _judged(demo, circuit), _judged(demo, circuit)
    assert first.validations == second.validations
    for name in first.faithfulness.keys() - set(MEASURED):
        assert first.faithfulness[name] == second.faithfulness[name]
    other = _judged(demo, circuit, seed=1)
    nulls = [row["null_values"] for row in first.validations if row["test"] == "necessity"]
    assert nulls != [row["null_values"] for row in other.validations if row["test"] == "necessity"]


def test_every_test_is_there_as_often_as_asked(demo, circuit):
    rows = _judged(demo, circuit, ablations=5, sources=3, draws=25, top=4).validations
    counts = {name: sum(row["test"] == name for row in rows) for name in {row["test"] for row in rows}}
    assert counts == {
        "node_ablation": 3 * 5,
        "feature_to_feature": 3,
        "necessity": 3,
        "top_necessity": 2,
        "sufficiency": 3,
        "sufficiency_without_errors": 1,
    }
    necessity = [row for row in rows if row["test"] == "necessity"]
    assert {row["mode"]: len(row["null_values"]) for row in necessity} == {
        "default": 25,
        "open": 20,
        "replacement": 25,
    }
    assert {row["features"] for row in necessity} == {len(circuit.features)}
    assert {row["features"] for row in rows if row["test"] == "top_necessity"} == {4}


@pytest.mark.parametrize("mode", ["default", "open"])
def test_an_ablation_row_is_what_the_model_does(demo, circuit, mode):
    rows = _judged(demo, circuit).validations
    row = next(row for row in rows if (row["test"], row["mode"]) == ("node_ablation", mode))
    before = intervene(demo, PROMPT, []).logits[-1].double()
    ablate = Intervention(row["layer"], row["position"], row["feature"], 0.0)
    after = intervene(demo, PROMPT, [ablate], MODES[mode]).logits[-1].double()
    (target,) = circuit.targets[0].tokens
    weight = {token: item.weight for item in circuit.targets for token in item.tokens}
    divergence = torch.nn.functional.kl_div(
        after.log_softmax(0), before.log_softmax(0), log_target=True, reduction="sum"
    )
    assert row["divergence"] == pytest.approx(float(divergence), rel=1e-2, abs=1e-9)
    assert row["log_probability"] == pytest.approx(float(after.log_softmax(0)[target]), abs=1e-5)
    change = after - before
    weighted = sum(abs(float(change[t] - change.mean())) * share for t, share in weight.items())
    assert row["effect"] == pytest.approx(weighted, abs=1e-4)
    others = before.clone()
    others[target] = -torch.inf
    assert row["value"] == pytest.approx(float(after[target] - after[others.argmax()]), abs=1e-4)


def test_the_replacement_run_has_what_the_graph_describes(demo, circuit):
    """All features carry the whole stake, the circuit most of it, matched sets little, the live run less."""
    verdict = _judged(demo, circuit)
    row = verdict.faithfulness
    assert row["replacement_necessity"] > row["necessity"]
    assert row["replacement_necessity"] > row["replacement_necessity_null"] + 0.3
    assert row["replacement_sufficiency_rank"] == 1
    everything = replace(
        circuit,
        features=circuit.active,
        activations=circuit.active_activations,
        influence=np.arange(len(circuit.active), dtype=float),
        edges=np.zeros((len(circuit.active),) * 2),
        direct=np.zeros(len(circuit.active)),
    )
    whole = _judged(demo, everything, ablations=4, sources=1, draws=20).faithfulness
    assert whole["replacement_necessity"] == pytest.approx(1, abs=1e-4)
    assert whole["replacement_sufficiency"] == pytest.approx(1, abs=1e-4)
    assert whole["sufficiency"] == pytest.approx(1, abs=1e-4)


def test_the_second_null_and_the_worst_case_stand_beside_matched_sets(demo, circuit):
    """Sets of any active features lose little; the worst case outside loses more than the matched median."""
    row = _judged(demo, circuit).faithfulness
    for prefix in ("", "free_", "replacement_"):
        name = f"{prefix}necessity"
        assert row[name] > row[f"{name}_active_null"] + 0.2
        assert row[f"{name}_worst"] > row[f"{name}_null"] or prefix == "replacement_"
    assert 0.95 <= row["active_null_size_ratio"] <= 1.05
    assert "free_necessity_rank" not in row


def test_the_partners_answer_is_the_rival(demo, circuit):
    alone = _judged(demo, circuit).faithfulness
    assert alone["rival_kind"] == "runner-up"
    partner = next(token for token in range(5, 99) if token not in (alone["target"], alone["rival"]))
    row = _judged(demo, replace(circuit, partner=partner)).faithfulness
    assert (row["rival"], row["rival_kind"]) == (partner, "partner")
    logits = BaseRun.of(demo, [list(circuit.token_ids)]).logits[0]
    assert row["value"] == pytest.approx(float(logits[row["target"]] - logits[partner]), abs=1e-4)
    same = _judged(demo, replace(circuit, partner=alone["target"])).faithfulness
    assert same["rival_kind"] == "runner-up"  # a partner with the same answer is no rival


def test_nothing_changed_is_nothing_observed(demo, circuit):
    base = BaseRun.of(demo, [list(circuit.token_ids)])
    metrics = OutputMetrics.of(base, circuit.targets)
    effects = metrics.run(base, InterventionBatch.of(base, [[]]), DEFAULT)
    assert effects.effect[0] == pytest.approx(0, abs=1e-4)
    assert effects.divergence[0] == pytest.approx(0, abs=1e-9)
    assert effects.value[0] == pytest.approx(
        float(base.logits[0, metrics.answer] - base.logits[0, metrics.rival]), abs=1e-4
    )


STATES = ("Dallas", "Chicago", "Miami", "Seattle", "Boston", "Denver", "Phoenix", "Atlanta")


def _runners_up(demo, prompt: str) -> list[int]:
    """Return the second and third likeliest tokens, whose difference has little to do with the first."""
    return BaseRun.of(demo, [prompt]).logits[0].topk(3).indices[1:].tolist()


def test_a_difference_is_judged_by_the_difference(demo):
    """Found on what was explained, half of it on the likeliest token, nothing where influence is shuffled."""
    rhos: dict[str, list[float]] = {"explained": [], "likeliest": [], "shuffled": []}
    random = np.random.default_rng(0)
    for city in STATES:
        prompt = f"The capital of the state containing {city} is"
        one, other = _runners_up(demo, prompt)
        circuit = _circuit(demo, prompt, [Difference(one, other)])
        likeliest = int(BaseRun.of(demo, [prompt]).logits[0].argmax())
        competitor = replace(circuit, targets=(ExplainedTarget("token", 1.0, {likeliest: 1.0}),))
        shuffled = replace(circuit, influence=random.permutation(circuit.influence))
        for name, judged in zip(rhos, (circuit, competitor, shuffled), strict=True):
            rhos[name].append(_judged(demo, judged, ablations=64, sources=1).faithfulness["spearman"])
    explained, likeliest, none = (float(np.median(values)) for values in rhos.values())
    assert explained > 0.5, rhos
    assert explained > likeliest + 0.2, rhos
    assert abs(none) < 0.2, rhos


def test_an_explained_feature_is_judged_by_its_pre_activation(demo, circuit):
    layer, position, feature = circuit.features[np.argmax(circuit.features[:, 0])].tolist()
    of_feature = _circuit(demo, PROMPT, [FeatureTarget(layer, position, feature)])
    verdict = _judged(demo, of_feature)
    row = verdict.faithfulness
    assert (row["target_kind"], row["rival"]) == ("feature", None)
    (ablation, *_) = (row for row in verdict.validations if row["test"] == "node_ablation")
    ablate = Intervention(ablation["layer"], ablation["position"], ablation["feature"], 0.0)
    clean, changed = (
        float(intervene(demo, PROMPT, item, preactivations=True).activations[layer][position, feature])
        for item in ([], [ablate])
    )
    assert row["value"] == pytest.approx(clean, abs=1e-5)
    assert ablation["value"] == pytest.approx(changed, abs=1e-4)
    assert ablation["effect"] == pytest.approx(abs(changed - clean), abs=1e-4)
    assert all(test["position"] <= position for test in verdict.validations if test.get("layer") is not None)


def test_a_direction_cannot_be_rebuilt_from_the_tables():
    with pytest.raises(TargetError, match="'mine' is a direction"):
        ExplainedTarget.of({"kind": "direction", "label": "mine", "weight": 1.0, "token_ids": None})


def test_a_later_feature_is_watched_where_the_range_ends(demo, circuit):
    rows = [row for row in _judged(demo, circuit).validations if row["test"] == "feature_to_feature"]
    for row in rows:
        assert row["range_start"] == row["layer"] == row["range_stop"] - 1
        above = circuit.features[circuit.features[:, 0] > row["layer"]]
        assert row["pairs"] == (above[:, 1] >= row["position"]).sum()
