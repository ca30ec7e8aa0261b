"""What is counted for a prompt, beside what tracing it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.attribution import AttributionOptions
from pipeline.attribution.attribution_pass import PassInputs
from pipeline.attribution.exploration import compute_rows
from pipeline.attribution.source_vectors import source_vectors
from pipeline.attribution.targets import resolve_targets
from pipeline.graph.edge_blocks import SourceIndex
from pipeline.planning.memory import prompt_bytes
from pipeline.planning.sizes import ModelSizes, PromptSizes
from tests.support.counted_trace import counted_trace
from tests.support.fresh_process import in_fresh_process
from tests.support.random_models import Recipe, random_model

PROMPT = [1, *range(5, 29)]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are measured on Linux")
@pytest.mark.parametrize("case", [(16, 4096), (24, 262_144), (64, 262_144, 500)])
def test_the_count_is_what_a_trace_takes(case: tuple[int, ...]) -> None:
    took = in_fresh_process(counted_trace, *case)
    assert 0.75 < took["counted"] / took["measured"] < 1.25
    assert 0.75 < took["guessed"] / took["measured"] < 1.3
    assert took["guessed_edges"] == pytest.approx(took["edges"], rel=0.05)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("block_pairs", [64, 640])
@torch.inference_mode()
def test_a_block_is_counted_number_by_number(block_pairs: int, skip: bool) -> None:
    """The buffers that all blocks share are as large as counted, less what no block fills."""
    model = random_model(Recipe(layers=3, skip=skip))
    frozen = model.freeze(model.ensure_tokenized(PROMPT))
    sources = SourceIndex(frozen.active_features(), model.n_layers, frozen.n_positions)
    resolved = resolve_targets(model, frozen, [3], 1, 0.9)
    inputs = PassInputs(frozen, source_vectors(frozen, sources), sources, resolved)
    rows = len(sources.active_features) + 1
    edges = compute_rows(inputs, torch.arange(rows), AttributionOptions(), block_pairs)

    prompt = PromptSizes(frozen.n_positions, rows - 1, rows)
    counted = prompt_bytes(ModelSizes.of(model), prompt, AttributionOptions(), block_pairs)
    used = sum(buffer.nbytes for buffer in inputs.workspace._buffers.values())
    skipped = 2 * inputs.workspace._buffers["gradient", model.device].nbytes if skip else 0
    influence = max(block.weights.nbytes for block in edges.blocks)
    assert counted.block == pytest.approx(used + skipped + influence, rel=0.35)
    assert counted.edges == pytest.approx(edges.n_bytes, rel=0.15)


def test_a_model_is_measured() -> None:
    plt = ModelSizes.of(random_model(Recipe(layers=3)))
    assert (plt.layers, plt.width, plt.heads, plt.features) == (3, 16, 4, 20)
    assert (plt.query_width, plt.value_width, plt.element_bytes) == (16, 8, 8)
    assert (plt.written, plt.has_skip, plt.zero_positions) == (1, False, 1)
    clt = ModelSizes.of(random_model(Recipe(layers=3, cross_layer=True, skip=True)))
    assert (clt.written, clt.has_skip) == (2, True)


GEMMA = ModelSizes(26, 2304, 8, 2048, 1024, 16_384, 1.0, False, 1, 4)


def test_edges_left_out_bound_what_a_long_prompt_takes() -> None:
    prompt = PromptSizes(2048, 26 * 2047 * 60, 2000)
    everything = prompt_bytes(GEMMA, prompt, AttributionOptions(max_feature_nodes=2000), 4096)
    thin = prompt_bytes(GEMMA, prompt, AttributionOptions(max_feature_nodes=2000, edges_per_row=8192), 4096)
    assert thin.edges < everything.edges / 20
    assert thin.block > everything.block


def test_low_precision_copies_its_factors() -> None:
    prompt = PromptSizes(20, 30_000, 30_010)
    blocks = [
        prompt_bytes(
            GEMMA, prompt, AttributionOptions(precision="bfloat16" if low else "float32"), 4096
        ).block
        for low in (False, True)
    ]
    assert blocks[1] - blocks[0] == 4096 // 20 * 20 * 2 * (2304 + 2048)
