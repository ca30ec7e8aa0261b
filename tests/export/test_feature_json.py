from __future__ import annotations

import json
from collections import Counter, defaultdict

import numpy as np
import pytest

from pipeline import Results
from pipeline.export.feature_json import feature_documents
from pipeline.export.names import feature_number
from pipeline.store.output import Output
from tests.support.exported import check

LAYER = 2


@pytest.fixture
def activations(results: Results) -> dict[int, list[dict]]:
    """The rows of each feature of the layer."""
    rows = defaultdict(list)
    for row in results.dataset("activations").to_table().to_pylist():
        if row["layer"] == LAYER:
            rows[row["feature"]].append(row)
    return rows


@pytest.fixture
def busiest(activations: dict[int, list[dict]]) -> list[int]:
    return sorted(activations, key=lambda feature: -len(activations[feature]))[:3]


def test_it_is_what_viewers_read(results: Results, busiest: list[int]) -> None:
    documents = feature_documents(results, LAYER, busiest, "set")
    assert set(documents) == {feature_number(LAYER, feature) for feature in busiest}
    for document in documents.values():
        check("feature", json.loads(json.dumps(document, allow_nan=False)))


def test_figures_are_those_of_the_rows(
    results: Results, activations: dict[int, list[dict]], busiest: list[int]
) -> None:
    positions = sum(results.dataset("graphs").to_table()["positions"].to_pylist())
    for document in feature_documents(results, LAYER, busiest, "set").values():
        values = np.array([row["activation"] for row in activations[document["index"]]])
        assert (document["act_min"], document["act_max"]) == (values.min(), values.max())
        assert document["activation_frequency"] == len(values) / positions
        assert document["quantile_values"] == pytest.approx(np.quantile(values, np.arange(1, 100) / 100))
        expected, _ = np.histogram(values, bins=40)
        assert sum(document["histogram"]) == len(values)
        assert (
            np.abs(np.cumsum(document["histogram"]) - np.cumsum(expected)).max() <= 1
        )  # a value on a bin's edge


def test_examples_are_prompts_of_the_sweep(
    results: Results, activations: dict[int, list[dict]], busiest: list[int]
) -> None:
    tokens = {tuple(row) for row in results.dataset("graphs").to_table()["tokens"].to_pylist()}
    for document in feature_documents(results, LAYER, busiest, "set").values():
        rows = activations[document["index"]]
        peaks = Counter()
        for row in rows:
            peaks[row["prompt_key"]] = max(peaks[row["prompt_key"]], row["activation"])
        examples = [e for quantile in document["examples_quantiles"] for e in quantile["examples"]]
        shown = [max(example["tokens_acts_list"]) for example in examples]
        best = sorted(peaks.values(), reverse=True)
        assert shown[:10] == best[:10]
        assert shown == sorted(shown, reverse=True)
        for example in examples:
            assert tuple(example["tokens"]) in tokens
            assert example["tokens_acts_list"][example["train_token_ind"]] == max(example["tokens_acts_list"])
            assert len(example["tokens"]) == len(example["tokens_acts_list"])


def test_bands_below_the_strongest(
    results: Results, monkeypatch: pytest.MonkeyPatch, busiest: list[int]
) -> None:
    monkeypatch.setattr("pipeline.export.feature_json.TOP_EXAMPLES", 2)
    monkeypatch.setattr("pipeline.export.feature_json.BAND_EXAMPLES", 1)
    (document,) = feature_documents(results, LAYER, busiest[:1], "set").values()
    named = {
        quantile["quantile_name"]: len(quantile["examples"]) for quantile in document["examples_quantiles"]
    }
    assert named == {"Top activations": 2, "Upper third": 1, "Middle third": 1, "Lower third": 1}


def test_a_compaction_changes_nothing(random_output: Output, busiest: list[int], tmp_path) -> None:
    before = feature_documents(Results(random_output), LAYER, busiest, "set")
    random_output.compact()
    assert feature_documents(Results(random_output), LAYER, busiest, "set") == before
