"""Projects' engines, each loaded in a process of its own, which answer prompt by prompt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from pipeline.benchmark.engine import SHAPES, build
from pipeline.builtin import MODEL, TRANSCODERS
from pipeline.errors import ConfigurationError
from pipeline.transcoders import write_transcoders

ROOT = Path(__file__).parents[3]

SCRIPT = Path(__file__).parent / "trace_peer.py"

OURS, PEER = "circuit-sweep", "circuit-tracer"

LONGEST = 128
"""Tokens of a prompt, at most."""


class Tracer:
    """One project's process."""

    def __init__(self, name: str, python: str, job: Path) -> None:
        """Start it, and wait until the model is loaded.

        Raises:
            ConfigurationError: the project does not run there, with its last words.

        """
        self._name, self._python, self._log = name, python, job.with_name(f"{name}.log")
        # Another environment's packages must not be found before a peer's own.
        own = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "PYTHONPATH": str(ROOT) if name == OURS else ""}
        with self._log.open("w") as log:
            try:
                self._process = subprocess.Popen(
                    [python, str(SCRIPT), name, str(job)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env=os.environ | own,
                )
            except OSError as error:
                raise ConfigurationError(f"--peer is {python}, which cannot be run: {error}.") from error
        self.version = str(self._answer()["version"])

    def trace(self, tokens: list[int], rows: int | None) -> dict[str, Any]:
        """Trace one prompt there, and return its seconds and sizes.

        Raises:
            ConfigurationError: the process ended, with its last words.

        """
        print(json.dumps({"tokens": tokens, "rows": rows}), file=self._process.stdin, flush=True)
        return self._answer()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        while line := self._process.stdout.readline():
            if line.startswith("{"):  # a library may print, too
                return json.loads(line)
        last = (self._log.read_text().strip().splitlines() or ["it said nothing"])[-1]
        raise ConfigurationError(
            f"{self._name} does not run with {self._python}: {last} Make an environment for it (python -m "
            f"venv peer && peer/bin/pip install {self._name}), and name it with --peer peer/bin/python."
        )


@contextmanager
def both(model: str, folder: Path, peer: str) -> Iterator[tuple[Tracer, Tracer]]:
    """Load `demo`, or a model of a shape, into this project and into circuit-tracer.

    Raises:
        ConfigurationError: circuit-tracer does not run there.

    """
    job = write_job(model, folder / model)
    with ExitStack() as stack:
        found = []
        for name, python in ((OURS, sys.executable), (PEER, peer)):
            found.append(Tracer(name, python, job))
            stack.callback(found[-1].end)
        yield found[0], found[1]


def write_job(model: str, folder: Path) -> Path:
    """Write `demo`, or a model of a shape, as both projects read it, and return the path of the job."""
    files, transcoders = folder / "model", folder / "transcoders"
    if model == "demo":
        hooks = ("mlp.hook_in", "mlp.hook_out")
        shutil.copytree(MODEL, files)
        shutil.copytree(TRANSCODERS, transcoders)
    else:
        hooks = (SHAPES[model].input_hook, SHAPES[model].output_hook)
        built = build(model)
        built.model.save_pretrained(files)
        built.tokenizer.save_pretrained(files)
        write_transcoders(built.transcoders, transcoders)
    # Transformers 5 writes a class that version 4, which circuit-tracer wants, does not know.
    written = json.loads((files / "tokenizer_config.json").read_text())
    written["tokenizer_class"] = "PreTrainedTokenizerFast"
    (files / "tokenizer_config.json").write_text(json.dumps(written))
    job = {
        "model": str(files),
        "transcoders": str(transcoders),
        "input_hook": hooks[0],
        "output_hook": hooks[1],
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job | {"longest": LONGEST, "threads": torch.get_num_threads()}))
    return path
