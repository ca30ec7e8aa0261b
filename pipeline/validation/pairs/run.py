"""The pairs of a sweep from its output to published tables: another kind of work, run as a sweep is."""

from __future__ import annotations

import sys

from pipeline.runtime import RunReport, WorkersConfig, run_work
from pipeline.runtime.telemetry import Progress
from pipeline.store import Output
from pipeline.store.commits import run_key
from pipeline.sweep import bytes_of_worker
from pipeline.sweep_model import recorded_model
from pipeline.validation.pairs.config import PairTests
from pipeline.validation.pairs.matching import PairedPrompts, resolved
from pipeline.validation.pairs.work import PairWork
from pipeline.version import ENGINE_VERSION
from schemas import PAIR_TABLES

FOLDER = "pairs"
"""Folder inside the sweep's output: an output of its own, as a validation's."""


class PairOutput(Output):
    """The output of a sweep's pairs."""

    def __init__(self, sweep_url: str) -> None:
        super().__init__(f"{sweep_url.rstrip('/')}/{FOLDER}", PAIR_TABLES)
        self.sweep = Output(sweep_url)


def patch_pairs(
    url: str,
    config: PairTests,
    progress: Progress,
    workers: WorkersConfig,
    address: str | None = None,
    trust_remote_code: bool = False,
    lazy_encoder: bool = False,
) -> RunReport:
    """Patch the prompts of a sweep's pairs, or what is left of them.

    Raises:
        CircuitSweepError: there is no sweep, it has no pairs, its model cannot be had as it was, or the
            output cannot be written; what was committed stays.
        KeyboardInterrupt: the user, or whoever sent SIGTERM, wants it to end; what was committed stays.

    """
    source = Output(url)
    config = resolved(source, config)
    used = recorded_model(source, trust_remote_code)
    memory = bytes_of_worker(used.model, used.transcoders, used.dtype, lazy_encoder)
    work = PairWork(source.url, config, used, lazy_encoder, memory)
    settings = config.model_dump(mode="json")
    identity = {"engine": ENGINE_VERSION, "sweep": source.claimed().run_key, **settings}
    output = PairOutput(source.url)
    output.claim(identity, run_key(identity))
    return run_work(
        work,
        PairedPrompts(source, config),
        output,
        workers,
        progress,
        address=address,
        shard_size=sys.maxsize,  # a sweep's shard is one of ours: its rows lie together
        configuration=settings,
    )
