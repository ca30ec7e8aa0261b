"""A sweep of a few prompts whose model is there to be asked."""

from __future__ import annotations

from pathlib import Path

from pipeline.runtime import WorkerResources
from pipeline.store import Output
from pipeline.store.commits import shard_id
from pipeline.sweep.inputs import open_inputs
from pipeline.sweep.run import attribution_work, described
from tests.support.tiny_model import tiny_config

PROMPTS = ["w1 w2 w3 w4 w5 w6", "w7 w2 w9 w11", "w3 w1 w2"]

ANSWERS = ["w20", "w2", "w2"]
"""The first is what the model says."""

FAMILIES = ["long", "long", "short"]


def live_sweep(files: Path, place: Path) -> str:
    """Sweep a few prompts with the model in a folder as a worker does, without machines around it."""
    rows = [
        {"id": f"p{number}", "prompt": text, "answer": answer, "family": family}
        for number, (text, answer, family) in enumerate(zip(PROMPTS, ANSWERS, FAMILIES, strict=True))
    ]
    config = tiny_config(files, rows, place, prompts={"columns": ["answer", "family"]})
    inputs = open_inputs(config)
    output = Output(config.output)
    output.claim(described(config, inputs), inputs.run_key, inputs.prompts.extra_columns)
    work = attribution_work(config, inputs)
    work.load(WorkerResources(threads=1, devices=("cpu",), device_share=1.0), output)
    for item in inputs.items:
        assert item.refusal is None, item.refusal
        output.commit(shard_id([item.key], inputs.run_key), work.do(item).tables)
    return output.url
