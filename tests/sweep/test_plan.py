"""Plans beside what tracing every prompt then shows: counts and bytes, never times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.attribution import AttributionOptions
from pipeline.benchmark.engine import shapes
from pipeline.builtin import PROMPTS
from pipeline.errors import PromptError, StoreError
from pipeline.planning.block_size import BlockPlanner
from pipeline.planning.sample import draw
from pipeline.planning.sizes import ModelSizes
from pipeline.runtime.shards.grouping import Shards
from pipeline.runtime.workers.placement import Placement
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.parquet import encode
from pipeline.sweep.config import PruningConfig, SweepConfig
from pipeline.sweep.engine import Engine, EngineConfig
from pipeline.sweep.inputs import open_inputs
from pipeline.sweep.plan import Sampler, SweepPlan, plan_from, plan_sweep
from pipeline.sweep.prompts.counts import PromptCounts
from pipeline.sweep.prompts.items import TokenizedPrompt
from pipeline.sweep.run import engine_config
from schemas import TABLES
from tests.support.tiny_model import sentence

WITHIN = 0.3
"""How far a plan may be off."""


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """A plan takes as many threads as a worker would."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def trace_all(sampler: Sampler, prompts: list[TokenizedPrompt], shard_size: int) -> dict[str, float]:
    """Return what all prompts take, their rows written in shards."""
    for prompt in prompts:
        sampler.trace(prompt)
    shards = [sampler._tables[i : i + shard_size] for i in range(0, len(prompts), shard_size)]
    files = [encode(TABLES[name], rows).size for shard in shards for name, rows in join_tables(shard).items()]
    return {
        "active": sum(sample.sizes.active for sample in sampler.samples),
        "rows": sum(sample.sizes.rows for sample in sampler.samples),
        "output_bytes": sum(files),
        "device_bytes": max(sample.device_bytes for sample in sampler.samples),
    }


def planned(plan: SweepPlan) -> dict[str, float]:
    found = plan.forecast
    sums = {name: getattr(found, name).total for name in ("active", "rows", "output_bytes")}
    return {**sums, "device_bytes": found.device_bytes}


@pytest.mark.parametrize("rules", [{}, {"max_feature_nodes": 100}])
def test_the_demo_takes_what_was_planned(tmp_path: Path, rules: dict[str, int]) -> None:
    table = pq.read_table(PROMPTS, columns=["prompt"])
    pq.write_table(table.take(list(range(0, len(table), 14))), tmp_path / "prompts.parquet")
    config = SweepConfig(
        model="demo",
        transcoders="demo",
        prompts={"source": str(tmp_path / "prompts.parquet")},
        output=str(tmp_path / "output"),
        attribution=rules,
    )
    plan = plan_sweep(config, sample=6)
    inputs = open_inputs(config)
    shards = Shards(inputs.items, inputs.run_key, config.shard_size)
    prompts = [prompt for shard in shards for prompt in shard.items]
    sampler = Sampler(Engine(engine_config(config, inputs)), pa.schema([]))
    assert planned(plan) == pytest.approx(trace_all(sampler, prompts, config.shard_size), rel=WITHIN)
    assert plan.counts.count == len(prompts)
    assert not (tmp_path / "output").exists()


class Medium(Engine):
    """Traces with the medium model of the benchmark, which has no files."""

    def __init__(self) -> None:
        self.config = EngineConfig("medium", "medium")
        self.model = shapes.build("medium")
        self.planner = BlockPlanner(ModelSizes.of(self.model), AttributionOptions(), self.model.device)
        self.targets = None


@pytest.mark.slow
def test_the_medium_model_takes_what_was_planned() -> None:
    engine = Medium()
    prompts = [
        TokenizedPrompt(key=i, id=f"q{i}", token_ids=tuple(shapes.prompt(6 + i, seed=i))) for i in range(10)
    ]
    counts = PromptCounts(Counter(len(prompt.token_ids) for prompt in prompts), 0, 0, prompts)
    config = SweepConfig(model="m", transcoders="t", prompts="p", output="o")
    drawn = draw(prompts, lambda prompt: len(prompt.token_ids), 3, 0)
    plan = plan_from(config, Sampler(engine, pa.schema([])), counts, Placement(1, 1, 0), drawn)
    took = trace_all(Sampler(engine, pa.schema([])), prompts, config.shard_size)
    assert planned(plan) == pytest.approx(took, rel=WITHIN)
    assert plan.forecast.active.total == pytest.approx(took["active"], rel=0.05)


def test_a_plan_counts_what_is_not_to_be_traced(make_config: Callable[..., SweepConfig]) -> None:
    rows = [{"prompt": sentence(i)} for i in range(9)]
    rows += [{"prompt": sentence(3)}, {"prompt": ""}, {"prompt": "Dallas"}]
    plan = plan_sweep(make_config(rows), sample=9)
    assert (plan.counts.count, plan.counts.repeated, plan.counts.rejected) == (9, 1, 2)
    assert plan.counts.lengths == {6: 9}
    assert plan.forecast.active.error == 0
    assert plan.forecast.active.total == sum(sample.sizes.active for sample in plan.samples)
    assert plan.placement == Placement(1, 1, 0)


def test_hours_are_shared_among_replicas(make_config: Callable[..., SweepConfig]) -> None:
    forecast = plan_sweep(make_config([{"prompt": sentence(i)} for i in range(4)]), sample=2).forecast
    assert forecast.hours(4) == forecast.seconds.total / 4 / 3600


def test_where_nothing_can_be_traced_a_plan_says_why(make_config: Callable[..., SweepConfig]) -> None:
    with pytest.raises(PromptError, match=r"none of the 1 prompts can be traced\. The first: .*Dallas"):
        plan_sweep(make_config([{"prompt": "Dallas"}]))


def test_where_no_sampled_prompt_can_be_traced_a_plan_says_why(
    make_config: Callable[..., SweepConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    def attribute(*_: object, **__: object) -> Any:
        raise PromptError("overflow")

    monkeypatch.setattr("pipeline.sweep.engine.attribute", attribute)
    with pytest.raises(PromptError, match=r"sampled prompts could be traced\. The first: 0 \(attribution\)"):
        plan_sweep(make_config([{"prompt": sentence(1)}]))


def test_an_output_of_another_sweep_is_refused_as_by_run(make_config: Callable[..., SweepConfig]) -> None:
    config = make_config([{"prompt": sentence(1)}])
    inputs = open_inputs(config)
    Output(config.output).claim(inputs.identity, inputs.run_key)
    plan_sweep(config)
    with pytest.raises(StoreError, match=r"pruning\.node_threshold: 0\.8 -> 0\.5"):
        plan_sweep(config.model_copy(update={"pruning": PruningConfig(node_threshold=0.5)}))
