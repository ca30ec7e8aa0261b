"""A sweep in this process, without Ray: the same work on the same items, committed as one shard."""

from __future__ import annotations

from pathlib import Path

from pipeline.runtime.work import WorkerResources
from pipeline.store.commits.keys import shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.inputs import open_inputs
from pipeline.sweep.run import attribution_work, described


def sweep_here(folder: Path, model: str, transcoders: str, prompts: Path, columns: list[str]) -> Output:
    """Trace prompts and store their graphs."""
    config = SweepConfig.model_validate(
        {
            "model": model,
            "transcoders": transcoders,
            "prompts": {"source": str(prompts), "columns": columns},
            "attribution": {"head_loadings": 0},
            "output": str(folder),
        }
    )
    inputs = open_inputs(config)
    output = Output(config.output)
    output.claim(described(config, inputs), inputs.run_key, inputs.prompts.extra_columns)
    work = attribution_work(config, inputs)
    work.load(WorkerResources(threads=1, devices=("cpu",), device_share=1.0), output)
    items = list(inputs.items)
    rows = join_tables([work.do(item).tables for item in items])
    output.commit(shard_id([item.key for item in items], inputs.run_key), rows)
    return output
