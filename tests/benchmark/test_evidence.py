"""Enrichment and necessity hold their false discovery rates where simpler tests do not."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.benchmark import evidence


@pytest.mark.parametrize("kind", evidence.KINDS)
def test_noise_labels_of_whole_clusters(kind: str) -> None:
    labelings = 12
    prompts = evidence.draw_prompts(kind)
    found = evidence.realised(prompts, prompts.clusters, labelings)
    # Of so few labelings, one more than the rate allows may have a false discovery.
    assert found.rate <= evidence.RATE + 1 / labelings
    assert found.found > 0.8
    alone = evidence.realised(prompts, np.arange(len(prompts.clusters)), labelings)
    if kind == "prompt":
        assert alone == found  # the competitor does as well where prompts are independent
    else:
        assert alone.rate > 0.2


def test_verdicts_on_graphs_that_repeat_one_another():
    """Planted effects are found; without any, graphs in clusters give false ones by p-values, not by q-values."""
    labelings = 40
    none = evidence.realised_necessity(0.0, labelings)
    assert none["q-values"].any_false <= evidence.RATE + 1 / labelings
    assert none["p-values"].any_false > 0.5
    half = evidence.realised_necessity(0.5, labelings)
    assert half["q-values"].rate <= evidence.RATE + 1 / labelings
    assert half["q-values"].found > 0.95
    assert half["p-values"].false_discoveries >= half["q-values"].false_discoveries
