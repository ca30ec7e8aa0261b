from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.attribution import AttributionOptions, attribute
from pipeline.attribution.row_blocks import CPU_BLOCK_PAIRS
from pipeline.errors import ConfigurationError
from pipeline.planning.block_size import BlockPlanner
from pipeline.planning.sizes import ModelSizes
from pipeline.runtime.shards.stage import StageError
from pipeline.sweep import engine as engine_module
from pipeline.sweep.config import AttributionConfig
from pipeline.sweep.engine import LEAST_BLOCK_PAIRS, Engine, EngineConfig

TOKENS = (1, 4, 5, 6)


@pytest.fixture
def engine(model_folder: Path) -> Engine:
    config = EngineConfig(str(model_folder / "model"), str(model_folder / "transcoders"))
    return Engine(config)


def test_a_trace_holds_graph_scores_and_cost(engine: Engine) -> None:
    trace = engine.trace(TOKENS)
    assert trace.graph.input_tokens.tolist() == list(TOKENS)
    assert (trace.replacement_score, trace.completeness_score) == trace.graph.scores()
    assert 0 < len(trace.pruned.kind) < trace.graph.n_nodes
    assert trace.unexpanded_influence == 0
    assert trace.seconds.total == trace.seconds.model + trace.seconds.rows + trace.seconds.pruning
    assert min(trace.seconds.model, trace.seconds.rows, trace.seconds.pruning) > 0
    assert 50 << 20 < trace.peak_bytes < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_cap_leaves_a_residual(model_folder: Path) -> None:
    rule = AttributionConfig(max_feature_nodes=5, batch_size=1)
    config = EngineConfig(str(model_folder / "model"), str(model_folder / "transcoders"), attribution=rule)
    trace = Engine(config).trace(TOKENS)
    assert len(trace.graph.expanded) == 5
    assert 0 < trace.unexpanded_influence < 1


@pytest.mark.parametrize("room", [CPU_BLOCK_PAIRS // 3, 0])
def test_a_device_without_memory_is_given_smaller_blocks(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    asked: list[int] = []

    def small_device(*arguments: Any, block_pairs: int, **options: Any) -> Any:
        asked.append(block_pairs)
        if block_pairs > room:
            raise torch.OutOfMemoryError("no room")
        return attribute(*arguments, block_pairs=block_pairs, **options)

    expected = engine.trace(TOKENS).graph.dense()
    monkeypatch.setattr(engine_module, "attribute", small_device)
    if room:
        trace = engine.trace(TOKENS)
        assert torch.allclose(trace.graph.dense(), expected, atol=1e-6)
        assert trace.block_pairs == CPU_BLOCK_PAIRS // 4
    else:
        with pytest.raises(StageError, match="no room") as caught:
            engine.trace(TOKENS)
        assert caught.value.stage == "attribution"
    assert asked[:3] == [CPU_BLOCK_PAIRS, CPU_BLOCK_PAIRS // 2, CPU_BLOCK_PAIRS // 4]
    assert len(asked) == 3 if room else asked[-1] < 2 * LEAST_BLOCK_PAIRS


@pytest.fixture
def broken_pruning(monkeypatch: pytest.MonkeyPatch) -> None:
    def prune(*_: object, **__: object) -> None:
        raise ArithmeticError("a bug")

    monkeypatch.setattr(engine_module, "prune", prune)


@pytest.mark.usefixtures("broken_pruning")
def test_an_error_carries_its_stage(engine: Engine) -> None:
    with pytest.raises(StageError, match="a bug") as caught:
        engine.trace(TOKENS)
    assert caught.value.stage == "pruning"
    assert isinstance(caught.value.cause, ArithmeticError)


def test_the_planner_says_with_which_block_to_begin(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine.trace(TOKENS).block_pairs == CPU_BLOCK_PAIRS
    asked: list[int] = []

    def spy(*arguments: Any, block_pairs: int, **options: Any) -> Any:
        asked.append(block_pairs)
        return attribute(*arguments, block_pairs=block_pairs, **options)

    monkeypatch.setattr(engine_module, "attribute", spy)
    monkeypatch.setattr("pipeline.planning.block_size.memory_class", lambda _: 2)
    engine.planner = BlockPlanner(ModelSizes.of(engine.model), AttributionOptions(), engine.model.device)
    assert engine.trace(TOKENS).block_pairs == LEAST_BLOCK_PAIRS
    assert asked == [LEAST_BLOCK_PAIRS]


def test_a_precision_that_the_device_lacks_is_refused_before_any_prompt(model_folder: Path) -> None:
    rules = AttributionConfig(precision="tf32")
    config = EngineConfig(str(model_folder / "model"), str(model_folder / "transcoders"), attribution=rules)
    if torch.cuda.is_available():
        assert Engine(config).config.attribution.precision == "tf32"
    else:
        with pytest.raises(ConfigurationError, match="only CUDA devices"):
            Engine(config)


def test_a_lazy_encoder_gives_the_same_graph(model_folder: Path, engine: Engine) -> None:
    folders = str(model_folder / "model"), str(model_folder / "transcoders")
    lazy = Engine(EngineConfig(*folders, lazy_encoder=True)).trace(TOKENS).graph
    assert torch.allclose(lazy.dense(), engine.trace(TOKENS).graph.dense(), atol=1e-6)
