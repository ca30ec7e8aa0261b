"""Training of a dictionary here and by the peers' trainers: same model, text, tokens, layer, features, k.

One layer of the built-in English model, on WordNet's definitions joined to long documents, since peers want
sequences of one length. Tokens are cut once; every trainer gets those sequences, in a process of its own, and
its dictionary is measured by the same code on the same held-out text. Peers run in another interpreter, which
has them; without one only this project is measured. A peer's own learning rate comes first, and beside it the
one that this project uses, which suits a short training better.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.benchmark.report import Report, Settings
from pipeline.benchmark.training_step import FEATURES as FEATURES_OF_STEP
from pipeline.benchmark.training_step import WIDTH, step_rate
from pipeline.builtin import ENGLISH_FILES, resolve
from pipeline.errors import ConfigurationError
from pipeline.training import DictionaryConfig, TokenSet, prepare_tokens

ROOT = Path(__file__).parents[2]

SCRIPT = Path(__file__).parent / "peers" / "train_peer.py"

LAYER, FEATURES, K, CONTEXT, BATCH = 2, 1024, 12, 64, 2048

STEPS = 250

DEFINITIONS = 200
"""Definitions of one document."""

RATE, WARM_UP = 2e-2, 12
"""This project's learning rate and warm-up for a training this short."""


@dataclass(frozen=True)
class Contestant:
    """A trainer and its settings."""

    name: str
    kind: str
    """`sae` or `skip`."""

    settings: str
    """Words for the table."""

    learning_rate: float | None = None
    """None for its own."""

    optimizer: str = "signum"
    """Of sparsify: its default, or `adam`."""


CONTESTANTS = (
    Contestant("circuit-sweep", "sae", "own"),
    Contestant("sae-lens", "sae", "own"),
    Contestant("sae-lens", "sae", f"rate {RATE:g}", RATE),
    Contestant("eai-sparsify", "sae", "own"),
    Contestant("eai-sparsify", "sae", f"Adam, rate {RATE:g}", RATE, "adam"),
    Contestant("circuit-sweep", "skip", "own"),
    Contestant("eai-sparsify", "skip", "own"),
    Contestant("eai-sparsify", "skip", f"Adam, rate {RATE:g}", RATE, "adam"),
)


def report(settings: Settings) -> Report:
    """Train with every contestant whose interpreter is there, one after the other."""
    with TemporaryDirectory() as folder:
        rows = tuple(_rows(settings, Path(folder)))
    columns = ("trainer", "kind", "settings", "tokens/CPU s", "FVU", "L0", "dead", "peak MB above the model")
    remarks = (
        f"Layer {LAYER} of `english`, {FEATURES:,} features, k {K}, {STEPS * BATCH:,} tokens in steps of "
        f"{BATCH:,}, one thread, one process each, which the seconds are of. FVU, L0 and dead features on "
        "held-out text."
    )
    step, plain = step_rate()
    remarks += (
        f" A step of {FEATURES_OF_STEP:,} features at width {WIDTH} takes the time of {step / 1e9:.0f} "
        f"GFLOP/s of dense products, {step / plain:.0%} of what these reach alone here ({plain / 1e9:.0f})."
    )
    if settings.peer is None:
        remarks += " --peer PYTHON adds sae-lens and eai-sparsify, installed in another environment."
    return Report(columns, rows, remarks)


def _rows(settings: Settings, folder: Path) -> Iterator[tuple[str, ...]]:
    job = _prepare(folder)
    for number, contestant in enumerate(CONTESTANTS):
        if contestant.name != "circuit-sweep" and settings.peer is None:
            continue
        python = sys.executable if contestant.name == "circuit-sweep" else settings.peer
        found = _train(contestant, str(python), job, folder / str(number))
        yield (
            f"{contestant.name} {found['version']}",
            contestant.kind,
            contestant.settings,
            f"{STEPS * BATCH / found['seconds']:,.0f}",
            f"{found['fvu']:.3f}",
            f"{found['l0']:.1f}",
            f"{found['dead']:,}",
            _peak(found),
        )


def _peak(found: Mapping[str, Any]) -> str:
    if found["bytes_before"] is None:
        return "not known here"
    return f"{(found['peak_bytes'] - found['bytes_before']) / 1e6:,.0f}"


def _prepare(folder: Path) -> dict[str, Any]:
    """Cut the tokens, for all alike, and return what is the same in all jobs."""
    texts = pq.read_table(ENGLISH_FILES / "glosses.parquet", columns=["text"])["text"].to_pylist()
    documents = ["; ".join(texts[i : i + DEFINITIONS]) for i in range(0, len(texts), DEFINITIONS)]
    pq.write_table(pa.table({"text": documents}), folder / "text.parquet")
    config = DictionaryConfig.model_validate(_config(folder, "sae"))
    tokens = prepare_tokens(config, folder / "tokens")
    train, held_out = _whole(tokens.train), _whole(tokens.held_out)
    needed = -(-STEPS * BATCH // (CONTEXT - 1))
    np.save(folder / "train.npy", train[:needed])
    np.save(folder / "held_out.npy", held_out[:512])
    return {
        "model": resolve("english", "model"),
        "layer": LAYER,
        "features": FEATURES,
        "k": K,
        "batch": BATCH,
        "tokens": STEPS * BATCH,
        "train": str(folder / "train.npy"),
        "held_out": str(folder / "held_out.npy"),
        "tokens_folder": str(folder / "tokens"),
        "warm_up": WARM_UP,
        "buffer": config.buffer,
        "threads": 1,
        "seed": 0,
    }


def _config(folder: Path, kind: str) -> dict[str, Any]:
    return {
        "model": resolve("english", "model"),
        "kind": kind,
        "features": FEATURES,
        "k": K,
        "text": {"source": str(folder / "text.parquet"), "held_out": 0.1, "context": CONTEXT},
        "tokens": STEPS * BATCH,
        "batch": BATCH,
        "dtype": "float32",
        "output": str(folder / "unused"),
    }


def _whole(tokens: TokenSet) -> np.ndarray:
    """Return the sequences that fill the context, one a row, in an order that mixes documents."""
    lengths = np.diff(tokens.starts)
    full = np.random.default_rng(0).permutation(np.flatnonzero(lengths == CONTEXT))
    return np.stack(tokens.sequences(full)).astype(np.int64)


def _train(contestant: Contestant, python: str, job: dict[str, Any], scratch: Path) -> dict[str, Any]:
    """Run one contestant, and return its figures.

    Raises:
        ConfigurationError: it ended without figures, with its last words.

    """
    scratch.mkdir()
    own = {
        "kind": contestant.kind,
        "learning_rate": contestant.learning_rate,
        "optimizer": contestant.optimizer,
        "scratch": str(scratch / "files"),
        "config": _config(scratch.parent, contestant.kind),
    }
    (scratch / "job.json").write_text(json.dumps(job | own))
    quiet = {"WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, str(SCRIPT), contestant.name, str(scratch / "job.json")],
        capture_output=True,
        text=True,
        # Another environment's packages must not be found before a peer's own.
        env=os.environ | quiet | {"PYTHONPATH": str(ROOT) if contestant.name == "circuit-sweep" else ""},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ConfigurationError(
            f"{contestant.name} could not be trained by {python}: {last} If it is not "
            f"there, pip install {contestant.name}; without --peer this project alone is measured."
        )
    return json.loads(done.stdout.strip().splitlines()[-1])
