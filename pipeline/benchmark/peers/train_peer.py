"""Train one dictionary with one project's trainer, and measure it on held-out text, all in the same way.

Run by an interpreter that has the trainer, another's need not have this project: `python train_peer.py
sae-lens JOB.json`. Each trainer is used as its own documentation says, with its own defaults but for what
the job fixes: model, layer, kind, features, k, tokens and tokens a step. Prints one line of JSON, the last
of its output.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

Trained = Callable[[Tensor], tuple[Tensor, Tensor]]
"""What the features read to features and reconstruction."""


def train_sparsify(job: dict[str, Any], model: PreTrainedModel, tokens: np.ndarray) -> Trained:
    """Train with EleutherAI's sparsify: TopK, an autoencoder of an MLP's output, or its transcoder."""
    from datasets import Dataset
    from sparsify import SparseCoderConfig, TrainConfig, Trainer

    config = TrainConfig(
        SparseCoderConfig(
            num_latents=job["features"],
            k=job["k"],
            transcode=job["kind"] != "sae",
            skip_connection=job["kind"] == "skip",
        ),
        batch_size=job["batch"] // tokens.shape[1],
        exclude_tokens=[int(tokens[0, 0])],
        hookpoints=[f"layers.{job['layer']}.mlp"],
        optimizer=job["optimizer"],
        lr=job["learning_rate"],
        lr_warmup_steps=job["warm_up"],
        log_to_wandb=False,
        save_dir=job["scratch"],
    )
    trainer = Trainer(config, Dataset.from_dict({"input_ids": tokens}).with_format("torch"), model)
    trainer.fit()
    (coder,) = trainer.saes.values()
    for optimizer in trainer.optimizers:
        if hasattr(optimizer, "eval"):  # the averaged weights of a schedule-free optimiser are the result
            optimizer.eval()

    def apply(read: Tensor) -> tuple[Tensor, Tensor]:
        best, indices, _ = coder.encode(read)
        features = torch.zeros(len(read), coder.num_latents).scatter(1, indices, best)
        written = coder.decode(best, indices)
        return features, written if coder.W_skip is None else written + read @ coder.W_skip.mT

    return apply


def train_sae_lens(job: dict[str, Any], model: PreTrainedModel, tokens: np.ndarray) -> Trained:
    """Train with SAELens: a BatchTopK autoencoder of the MLP's output."""
    from datasets import Dataset
    from sae_lens import BatchTopKTrainingSAEConfig, LanguageModelSAERunnerConfig, LoggingConfig
    from sae_lens.llm_sae_training_runner import LanguageModelSAETrainingRunner

    if job["kind"] != "sae":
        raise SystemExit(f"sae-lens trains autoencoders, not {job['kind']}")
    chosen = {} if job["learning_rate"] is None else {"lr": job["learning_rate"]}
    config = LanguageModelSAERunnerConfig(
        BatchTopKTrainingSAEConfig(d_in=model.config.hidden_size, d_sae=job["features"], k=job["k"]),
        model_name=job["model"],
        model_class_name="AutoModelForCausalLM",
        hook_name=f"model.layers.{job['layer']}.mlp",
        context_size=tokens.shape[1],
        prepend_bos=False,
        exclude_special_tokens=[int(tokens[0, 0])],
        training_tokens=job["tokens"],
        train_batch_size_tokens=job["batch"],
        lr_warm_up_steps=job["warm_up"],
        n_batches_in_buffer=job["buffer"] // tokens.shape[1],  # in contexts
        logger=LoggingConfig(log_to_wandb=False),
        checkpoint_path=None,
        output_path=job["scratch"],
        n_eval_batches=0,
        seed=job["seed"],
        **chosen,
    )
    runner = LanguageModelSAETrainingRunner(config, Dataset.from_dict({"tokens": tokens}))
    runner.run()
    from sae_lens import SAE

    trained = SAE.load_from_disk(job["scratch"])  # a JumpReLU, as it is exported

    def apply(read: Tensor) -> tuple[Tensor, Tensor]:
        features = trained.encode(read)
        return features, trained.decode(features)

    return apply


def train_circuit_sweep(job: dict[str, Any], model: PreTrainedModel, tokens: np.ndarray) -> Trained:
    """Train with this project's engine: BatchTopK, exported as JumpReLU, thresholds set on held-out text."""
    from pipeline.training import (
        DictionaryConfig,
        GroupTraining,
        export_layers,
        load_language_model,
        prepare_tokens,
    )

    config = DictionaryConfig.model_validate(job["config"])
    text = prepare_tokens(config, Path(job["tokens_folder"]))  # there already, for all peers alike
    layers = range(job["layer"], job["layer"] + 1)
    training = GroupTraining.begin(config, load_language_model(config), text, layers)
    while not training.done:
        training.step()
    layer = export_layers(training)[job["layer"]]

    def apply(read: Tensor) -> tuple[Tensor, Tensor]:
        features = layer.encode(read)
        written = layer.decode(features)
        return features, written if layer.skip is None else written + read @ layer.skip

    return apply


TRAINERS = {
    "circuit-sweep": ("pipeline.training", train_circuit_sweep),
    "sae-lens": ("sae_lens", train_sae_lens),
    "eai-sparsify": ("sparsify", train_sparsify),
}
"""By distribution: module, imported before anything is measured, and function."""


@torch.no_grad()
def measure(
    job: dict[str, Any], model: PreTrainedModel, tokens: np.ndarray, trained: Trained
) -> dict[str, Any]:
    """Measure L0, FVU and never active features on held-out text, the first position left out."""
    read, written = [], []

    def keep(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        source = output if job["kind"] == "sae" else inputs[0]
        read.append(source[:, 1:].flatten(0, 1))
        written.append(output[:, 1:].flatten(0, 1))

    handle = model.get_submodule(f"model.layers.{job['layer']}.mlp").register_forward_hook(keep)
    for part in torch.as_tensor(tokens).split(64):
        model(part)
    handle.remove()
    target = torch.cat(written)
    features, found = trained(torch.cat(read))
    active = features != 0
    error = (target - found).double().square().sum()
    return {
        "fvu": float(error / (target - target.mean(0)).double().square().sum()),
        "l0": float(active.sum(1).double().mean()),
        "dead": int((~active.any(0)).sum()),
    }


def memory_from_now() -> int | None:
    """Forget the peak so far, which imports and loading have set, and return the bytes in use.

    None if the system cannot forget, as only Linux can: the peak of a small training would be the imports'.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return peak_memory()


def peak_memory() -> int | None:
    """Return the most bytes in use since the peak was forgotten; None if the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main(name: str, path: str) -> None:
    """Train, measure, print."""
    job = json.loads(Path(path).read_text())
    module, train = TRAINERS[name]
    import_module(module)
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    tokens, held_out = (np.lib.format.open_memmap(job[part], mode="r") for part in ("train", "held_out"))
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    before = memory_from_now()
    started = time.process_time()
    trained = train(job, model, tokens)
    seconds = time.process_time() - started
    peak = peak_memory()
    found = measure(job, model, held_out, trained)
    figures = {
        "version": version(name),
        "seconds": seconds,
        "bytes_before": before,
        "peak_bytes": peak,
        **found,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
