"""Many short prompts: a whole sweep of this project beside a loop over circuit-tracer."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from transformers import AutoTokenizer

from pipeline.benchmark.engine import prompt
from pipeline.benchmark.peers.processes import ROOT, Tracer
from pipeline.builtin import MODEL, PROMPTS, TRANSCODERS

FEW = 10
"""One in so many prompts makes the short sweep, whose time is taken off the long one's."""

SHORTEST = 5
"""Fewest tokens of the beginning of a prompt."""

TOKENS = 16
"""Tokens of a prompt of a shape."""


def rows(
    model: str, folder: Path, tracers: tuple[Tracer, Tracer], count: int, sample: int
) -> list[tuple[str, ...]]:
    """Return the lines of one model: prompts a second and seconds of one, in turns.

    Args:
        model: `demo`, or a shape that was written into `folder`.
        folder: for what the sweeps read and write.
        tracers: of this project and of circuit-tracer.
        count: prompts of the sweep.
        sample: prompts of the loop.

    """
    prompts = demo_prompts(count) if model == "demo" else [prompt(TOKENS, seed=n) for n in range(count)]
    loop, alone = (
        _Loop(tracers[1], prompts[:: count // sample]),
        _Loop(tracers[0], prompts[:: count // sample]),
    )
    short = sweep_seconds(model, folder, "short", prompts[: count // FEW])
    before, ours = loop.half(), alone.half()
    long = sweep_seconds(model, folder, "long", prompts)
    theirs = [*before, *loop.half()]
    ours += alone.half()
    a_second = (count - count // FEW) / (long - short)
    theirs_a_second = len(theirs) / sum(theirs)
    name = f"{model}, {count:,} short prompts"
    return [
        (
            f"{name}: prompts a second",
            f"{a_second:.1f}",
            f"{theirs_a_second:.2f}",
            f"{a_second / theirs_a_second:.1f}x",
        ),
        ("  a loop of one process", f"{len(ours) / sum(ours):.1f}", "", f"{sum(theirs) / sum(ours):.1f}x"),
    ]


class _Loop:
    """Some prompts traced one after the other, in two halves around other work."""

    def __init__(self, tracer: Tracer, prompts: Sequence[list[int]]) -> None:
        self._tracer, self._halves = tracer, [prompts[::2], prompts[1::2]]

    def half(self) -> list[float]:
        """Trace one half, and return the seconds of each prompt."""
        answers = [self._tracer.trace(tokens, None) for tokens in self._halves.pop()]
        return [sum(one[phase] for phase in ("setup", "rows", "pruning", "writing")) for one in answers]


def sweep_seconds(model: str, folder: Path, name: str, prompts: Sequence[list[int]]) -> float:
    """Sweep over the prompts with the command that people run, and return its wall seconds."""
    files, transcoders = (MODEL, TRANSCODERS)
    if model != "demo":
        files, transcoders = (str(folder / model / part) for part in ("model", "transcoders"))
    source = folder / f"{name}.parquet"
    pq.write_table(pa.table({"tokens": prompts}), source)
    sweep = {
        "model": files,
        "transcoders": transcoders,
        "prompts": {"source": str(source), "token_ids": "tokens"},
        "output": str(folder / name),
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(sweep))
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "jobs.run", str(file)], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - started


def demo_prompts(count: int) -> list[list[int]]:
    """Return different prompts of the demo as token ids: whole ones, then ever shorter beginnings."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    texts = pq.read_table(PROMPTS, columns=["prompt"])["prompt"].to_pylist()
    whole = [
        [tokenizer.bos_token_id, *ids] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]
    ]
    longest = max(map(len, whole))
    beginnings = (
        tuple(ids[: len(ids) - cut]) for cut in range(longest) for ids in whole if len(ids) - cut >= SHORTEST
    )
    return [list(ids) for ids in list(dict.fromkeys(beginnings))[:count]]
