"""A run of Ray Train's TorchTrainer, one of whose two workers kills itself as soon as a checkpoint is
complete.

Run as a program, with a folder: Ray is left in no process of the tests, and finds the loop by value. The
folder gets `storage/`, and `events.jsonl` with a line for each start of a worker, each checkpoint and the
death.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
import torch
from ray import train
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

STEPS = 10
EVERY = 3
"""Steps from one checkpoint to the next."""

FATAL_STEP = 6
"""Step after whose checkpoint a worker dies, once."""

RAN = "ray_train_run"


def loop(settings: dict[str, str]) -> None:
    """Take steps with an all-reduce each, and report a checkpoint with a file of each worker's."""
    folder = Path(settings["folder"])
    rank = train.get_context().get_world_rank()
    first = 0
    if (checkpoint := train.get_checkpoint()) is not None:
        with checkpoint.as_directory() as stored:
            first = json.loads(Path(stored, f"{rank}.json").read_text())["step"] + 1

    def say(event: str, **fields: Any) -> None:
        line = {"event": event, "rank": rank, "seconds": time.time(), **fields}
        with (folder / "events.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")

    say("start", step=first)
    for step in range(first, STEPS):
        torch.distributed.all_reduce(torch.ones(1))
        time.sleep(0.2)
        if step % EVERY:
            continue
        with TemporaryDirectory() as written:
            Path(written, f"{rank}.json").write_text(json.dumps({"step": step}))
            train.report({"step": step}, checkpoint=Checkpoint.from_directory(written))
        say("complete", step=step)
        torch.distributed.all_reduce(torch.ones(1))  # both have uploaded theirs
        if rank == 1 and step == FATAL_STEP and first == 0:
            say("death", step=step)
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str) -> None:
    """Run to the end, and print the step of the checkpoint that Ray takes for the last one."""
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False)
    trainer = TorchTrainer(
        loop,
        train_loop_config={"folder": folder},
        torch_config=TorchConfig(backend="gloo"),
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(
            name=RAN, storage_path=f"{folder}/storage", failure_config=FailureConfig(max_failures=3)
        ),
    )
    trainer.fit()


if __name__ == "__main__":
    main(sys.argv[1])
