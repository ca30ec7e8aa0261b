"""The model written by hand does what it was written for, and methods are judged by what is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from pipeline import ReplacementModel, attribute
from pipeline.benchmark.planted.checkpoint import (
    CAPITALS,
    CITIES,
    LOGIT,
    PROMPTS,
    STATES,
    Truth,
    write_planted,
)
from pipeline.benchmark.planted.recovery import METHODS, Recovery, answers, recovered, trace
from pipeline.intervention import DEFAULT, Intervention, intervene
from pipeline.results.results import Results
from pipeline.runtime.telemetry.progress import Progress
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.run import run_sweep


def _model(folder: Path) -> ReplacementModel:
    return ReplacementModel.from_pretrained(str(folder), transcoders="neurons", device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def truths(folder: Path) -> dict[str, Truth]:
    return write_planted(folder)


@pytest.fixture(scope="module")
def planted(folder: Path, truths: dict[str, Truth]) -> ReplacementModel:
    return _model(folder)


def test_it_answers_and_its_neurons_are_an_exact_dictionary(planted):
    answers = dict(zip(STATES, CAPITALS, strict=True))
    for text, circuit in PROMPTS:
        graph = attribute(planted, text)
        assert graph.targets[0].label == answers.get(circuit, circuit)
        assert graph.targets[0].probability > 0.99
        assert graph.scores() == pytest.approx((1, 1), abs=1e-6)


def test_distractors_fire_most_and_change_nothing(planted):
    text, _ = PROMPTS[0]
    graph = attribute(planted, text)
    distractors = [(0, len(CITIES) + i) for i in range(2)]
    active = {(layer, f) for layer, _, f in graph.active_features.tolist()}
    assert active >= set(distractors)
    changes = [Intervention(layer, "all", f, value=0.0) for layer, f in distractors]
    change = intervene(planted, text, changes, DEFAULT).logits[-1] - intervene(planted, text, []).logits[-1]
    assert change.abs().max() < 0.1
    assert not any(node in trace(planted, text).edges for node in distractors)


def test_every_planted_node_matters_and_the_inhibitor_holds_down(planted, truths):
    text, state = PROMPTS[0]
    answer = planted.tokenizer.convert_tokens_to_ids(CAPITALS[STATES.index(state)])
    clean = intervene(planted, text, []).logits[-1, answer]
    active = {(layer, f) for layer, _, f in attribute(planted, text).active_features.tolist()}
    effects = {}
    for layer, feature in truths[state].nodes & active:
        change = intervene(planted, text, [Intervention(layer, "all", feature, value=0.0)], DEFAULT)
        effects[layer, feature] = float(clean - change.logits[-1, answer])
    assert len(effects) == 5  # of the two cities' neurons one
    assert min(map(abs, effects.values())) > 1
    assert [node for node, effect in effects.items() if effect < 0] == [(1, 2)]


def test_the_truth_is_the_paths_from_city_to_answer(truths):
    for circuit, truth in truths.items():
        is_two_hop = circuit in STATES
        assert (len(truth.nodes), len(truth.edges)) == ((6, 10) if is_two_hop else (2, 2))
        layers = {(source[0], target[0]) for source, target in truth.edges}
        assert layers == {(1, 2), (2, 3)} | ({(0, 1)} if is_two_hop else set())
        assert sum(target == LOGIT for _, target in truth.edges) == 1


def test_methods_find_what_was_planted_and_claim_where_there_is_nothing(planted, truths):
    prompts = [trace(planted, text) for text, _ in PROMPTS]
    labels = [state for _, state in PROMPTS]
    exact = recovered(METHODS["mean graph"], prompts, labels, truths)
    assert (exact.node_precision, exact.node_recall, exact.edge_precision, exact.edge_recall) == (1, 1, 1, 1)
    # Ten features are asked for and six are right, but nothing more is in the graphs without noise.
    for name in ("top influence", "attribution patching"):
        found = recovered(METHODS[name], prompts, labels, truths)
        assert found.node_recall == 1
        assert found.node_precision == pytest.approx(1)
    dealt = np.random.default_rng(0).permutation(labels).tolist()
    of_noise = recovered(METHODS["mean graph"], prompts, dealt, truths)
    assert of_noise.claimed > 6  # a mean graph has no way to say that there is nothing
    assert of_noise.node_precision < 0.6


def _rates(found: Recovery) -> tuple[float, float, float, float]:
    return found.node_precision, found.node_recall, found.edge_precision, found.edge_recall


def _dealt(labels: list[str], draws: int) -> list[list[str]]:
    random = np.random.default_rng(0)
    return [random.permutation(labels).tolist() for _ in range(draws)]


def test_discover_finds_exactly_what_was_planted_and_nothing_where_labels_are_noise(planted, truths):
    prompts = [trace(planted, text) for text, _ in PROMPTS]
    labels = [state for _, state in PROMPTS]
    assert _rates(recovered(METHODS["discover"], prompts, labels, truths)) == (1, 1, 1, 1)
    assert not any(METHODS["discover"](prompts, given) for given in _dealt(labels, 20))


@pytest.mark.parametrize(("noise", "least"), [(0.05, 0.95), (0.1, 0.9)])
def test_discover_is_not_misled_by_noise_neurons(tmp_path, noise, least):
    truths = write_planted(tmp_path, noise=noise)
    model = _model(tmp_path)
    prompts = [trace(model, text) for text, _ in PROMPTS]
    labels = [state for _, state in PROMPTS]
    works = {group: truth for group, truth in truths.items() if answers(prompts, group)}
    assert len(works) >= 9
    found = recovered(METHODS["discover"], prompts, labels, works)
    assert min(_rates(found)) >= least
    assert recovered(METHODS["top influence"], prompts, labels, works).node_precision < found.node_precision
    assert sum(bool(METHODS["discover"](prompts, given)) for given in _dealt(labels, 20)) <= 1


def test_the_same_seed_writes_the_same_model(folder, truths, tmp_path):
    assert write_planted(tmp_path) == truths
    first, second = (_model(path).model.state_dict() for path in (folder, tmp_path))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_run_sweeps_it(folder, truths, tmp_path, address):
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("prompt,circuit\n" + "".join(f"{text},{circuit}\n" for text, circuit in PROMPTS))
    output = str(tmp_path / "output")
    config = SweepConfig.model_validate(
        {
            "model": str(folder),
            "transcoders": "neurons",
            "prompts": {"source": str(prompts), "columns": ["circuit"]},
            "output": output,
        }
    )
    report = run_sweep(config, Progress(Console(quiet=True)), address)
    assert report.counts.done == len(PROMPTS)
    kept = Results(output).sql(
        "select distinct circuit, layer, feature from nodes join graphs using (prompt_key) where kind = "
        "'feature'"
    )
    for circuit, layer, feature in kept.fetchall():
        assert (layer, feature) in truths[circuit].nodes
