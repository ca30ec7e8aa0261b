"""Trace prompts with one project's engine, one at a time, and tell the seconds of each phase.

Run by an interpreter that has the engine; circuit-tracer's need not have this project: `python trace_peer.py
circuit-tracer JOB.json`. The model is loaded once. Then each line of the input, `{"tokens": [...], "rows":
null}`, is one prompt, and one line of JSON with its seconds and sizes is the answer; so two engines can take
turns. Each is used as its own documentation says, with its own defaults but for what the job fixes.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

Tracer = Callable[[list[int], int | None], dict[str, Any]]
"""Token ids and a number of rows, all if None, to seconds and sizes."""


def load_circuit_tracer(job: dict[str, Any]) -> Tracer:
    """Load the model into circuit-tracer's default backend."""
    from circuit_tracer.attribution.attribute import attribute
    from circuit_tracer.graph import prune_graph
    from circuit_tracer.utils.create_graph_files import create_graph_files

    model = _model_of_circuit_tracer(job)
    phases: dict[str, float] = {}
    # Its phases are told in its log alone, which is on where it is asked to be verbose.
    log = logging.getLogger("attribution")
    log.addFilter(lambda record: bool(phases.setdefault(record.getMessage()[:7], time.perf_counter())))

    def trace(tokens: list[int], rows: int | None) -> dict[str, Any]:
        phases.clear()
        started = time.perf_counter()
        graph = attribute(torch.tensor(tokens), model, max_feature_nodes=rows, verbose=True)
        traced = time.perf_counter()
        prune_graph(graph)
        pruned = time.perf_counter()
        with TemporaryDirectory() as folder:
            create_graph_files(graph, "graph", folder)
            n_bytes = sum(path.stat().st_size for path in Path(folder).iterdir())
        # It prunes again on the way to its file; that is counted once.
        written = time.perf_counter() - pruned - (pruned - traced)
        targets = len(graph.logit_targets)
        return {
            "setup": phases["Phase 3"] - started,
            "rows": traced - phases["Phase 3"],
            "pruning": pruned - traced,
            "writing": max(0.0, written),
            "active": len(graph.active_features),
            "n_rows": len(graph.selected_features) + targets,
            "bytes": n_bytes,
            "edges": float(graph.adjacency_matrix.abs().sum(1).double().sum()),
        }

    return trace


def _model_of_circuit_tracer(job: dict[str, Any]) -> Any:
    from circuit_tracer.replacement_model.replacement_model_transformerlens import (
        TransformerLensReplacementModel,
    )
    from circuit_tracer.transcoder.single_layer_transcoder import load_transcoder_set
    from transformer_lens.pretrained.weight_conversions.llama import convert_llama_weights
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    config = _config_of_circuit_tracer(source.config, job)
    paths = sorted(Path(job["transcoders"]).glob("layer_*"), key=lambda path: int(path.stem.split("_")[-1]))
    transcoders = load_transcoder_set(
        {layer: str(path) for layer, path in enumerate(paths)},
        scan="bench",
        feature_input_hook=job["input_hook"],
        feature_output_hook=job["output_hook"],
        lazy_encoder=False,
        lazy_decoder=False,
    )
    model = TransformerLensReplacementModel.from_config(
        config, transcoders, tokenizer=AutoTokenizer.from_pretrained(job["model"])
    )
    # Its wrappers stand around these two, and what is not found is left out without a word.
    moved = {".mlp.": ".mlp.old_mlp.", "unembed.": "unembed.old_unembed."}
    weights = convert_llama_weights(source, config)
    for old, new in moved.items():
        weights = {name.replace(old, new): tensor for name, tensor in weights.items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    left_out = [name for name in missing if "W_" in name and "transcoders" not in name]
    if left_out or unexpected:
        raise SystemExit(f"circuit-tracer's model has other names than expected: {[*left_out, *unexpected]}")
    return model


def _config_of_circuit_tracer(sizes: Any, job: dict[str, Any]) -> Any:
    from transformer_lens import HookedTransformerConfig

    grouped = sizes.num_key_value_heads != sizes.num_attention_heads
    return HookedTransformerConfig(
        n_layers=sizes.num_hidden_layers,
        d_model=sizes.hidden_size,
        d_head=sizes.head_dim,
        n_heads=sizes.num_attention_heads,
        n_key_value_heads=sizes.num_key_value_heads if grouped else None,
        d_mlp=sizes.intermediate_size,
        d_vocab=sizes.vocab_size,
        n_ctx=max(job["longest"], sizes.max_position_embeddings),
        act_fn=sizes.hidden_act,
        eps=sizes.rms_norm_eps,
        normalization_type="RMS",
        positional_embedding_type="rotary",
        rotary_adjacent_pairs=False,
        rotary_dim=sizes.head_dim,
        final_rms=True,
        gated_mlp=True,
        tokenizer_name=job["model"],
        model_name="llama",
        device="cpu",
    )


def load_circuit_sweep(job: dict[str, Any]) -> Tracer:
    """Load the model into this project's engine, as a worker of a sweep does."""
    from pipeline.store.rows import NO_COLUMNS, encode, graph_tables
    from pipeline.sweep import AttributionConfig, Engine, EngineConfig, traced_prompt
    from pipeline.sweep.prompts import TokenizedPrompt
    from schemas import TABLES

    def engine(rows: int | None) -> Engine:
        attribution = AttributionConfig(max_feature_nodes=rows)
        return Engine(EngineConfig(job["model"], job["transcoders"], attribution=attribution), loaded)

    loaded = None
    loaded = engine(None).model

    def trace(tokens: list[int], rows: int | None) -> dict[str, Any]:
        found = engine(rows).trace(tokens)
        traced = time.perf_counter()
        prompt = traced_prompt(TokenizedPrompt(key=1, id="0", token_ids=tuple(tokens)), found, run_key=1)
        tables = graph_tables(prompt, NO_COLUMNS)
        n_bytes = sum(len(encode(TABLES[name], table)) for name, table in tables.items() if table.num_rows)
        return {
            "setup": found.seconds.model,
            "rows": found.seconds.rows,
            "pruning": found.seconds.pruning,
            "writing": time.perf_counter() - traced,
            "active": len(found.graph.active_features),
            "n_rows": len(found.graph.expanded) + len(found.graph.targets),
            "bytes": n_bytes,
            "edges": float(
                found.graph.edges.row_sums(
                    torch.ones(found.graph.edges.sources.count, dtype=torch.bool)
                ).sum()
            ),
        }

    return trace


ENGINES = {"circuit-tracer": load_circuit_tracer, "circuit-sweep": load_circuit_sweep}
"""By distribution."""


def main(name: str, path: str) -> None:
    """Load, then trace what is asked for until the input ends."""
    job = json.loads(Path(path).read_text())
    torch.set_num_threads(job["threads"])
    trace = ENGINES[name](job)
    print(json.dumps({"version": version(name)}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(trace(asked["tokens"], asked["rows"])), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
