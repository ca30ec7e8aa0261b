"""Enrichment holds its false discovery rate where single prompts do not."""

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
