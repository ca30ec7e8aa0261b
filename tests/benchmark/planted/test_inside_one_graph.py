"""Inside one graph where the truth is known: where the planted head looks and why, and the small circuit."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import ReplacementModel, attribute, prune
from pipeline.attribution import head_loadings, qk_attribution
from pipeline.benchmark.planted import PROMPTS, write_planted
from pipeline.benchmark.planted.checkpoint import CAPITALS, COLOURS, STATES
from pipeline.graph import Component, ScorePart, small_circuit

ANSWERS = dict(zip(STATES, CAPITALS, strict=True))


def _model(folder: Path, noise: float) -> ReplacementModel:
    write_planted(folder, noise)
    return ReplacementModel.from_pretrained(str(folder), transcoders="neurons", device="cpu")


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_induction_head_looks_behind_the_earlier_occurrence_because_of_it(tmp_path, noise) -> None:
    model = _model(tmp_path, noise)
    for text, word in [prompt for prompt in PROMPTS if prompt[1] in COLOURS][::5]:
        graph = attribute(model, text, [word])
        pruned = prune(graph)
        found = qk_attribution(model, graph, pruned, head_loadings(model, graph, pruned), 1)
        # <bos> f w t f: from the second f, at position 4, to w, which the first f, at 1, is before.
        assert [column[0].item() for column in (found.layer, found.head, found.query, found.key)] == [
            1,
            1,
            4,
            2,
        ]
        assert float(found.attention[0]) > 0.95
        pairs = (found.part == ScorePart.PAIR).nonzero()[:, 0]
        first = int(pairs[0])
        token = int(graph.input_tokens[4])
        assert found.query_component[first].tolist() == [Component.TOKEN, -1, 4, token]
        assert found.key_component[first].tolist() == [Component.TOKEN, -1, 1, token]
        assert float(found.score[first] / found.score[0]) > 0.9
        assert float(found.contrast[first] / found.contrast[0]) > 0.9
        assert float(found.score[pairs[1:]].abs().max()) < 0.1 * float(found.score[0])


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_small_circuit_is_the_planted_one(tmp_path, noise) -> None:
    truths = write_planted(tmp_path, noise)
    model = ReplacementModel.from_pretrained(str(tmp_path), transcoders="neurons", device="cpu")
    for text, label in PROMPTS[::4]:
        graph = attribute(model, text, [ANSWERS.get(label, label)])
        chosen = small_circuit(graph, 10).nodes
        found = {(layer, feature) for layer, _, feature in graph.active_features[chosen].tolist()}
        active = {(layer, feature) for layer, _, feature in graph.active_features.tolist()}
        # Of the neurons for the cities of a state only that of this city fires; noise is not taken.
        assert found == truths[label].nodes & active
