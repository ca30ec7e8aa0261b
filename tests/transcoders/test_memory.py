"""A dictionary several times the allowed memory is traced inside it, and gives the same graph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline import ReplacementModel, attribute
from pipeline.transcoders.load import load_transcoders
from tests.support import written_formats
from tests.support.fresh_process import in_fresh_process
from tests.support.large_trace import FEATURES, LAYERS, WIDTH, large_trace

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory) -> Path:
    """A CLT of 740 MB, of which 600 are decoders."""
    folder = tmp_path_factory.mktemp("large")
    hooks = {"feature_input_hook": "mlp.hook_in", "feature_output_hook": "mlp.hook_out"}
    written_formats.config(folder, model_kind="cross_layer_transcoder", **hooks)
    generator = np.random.default_rng(0)
    for i in range(LAYERS):
        encoder = {
            f"W_enc_{i}": torch.from_numpy(generator.standard_normal((FEATURES, WIDTH), dtype=np.float32)),
            f"b_enc_{i}": torch.zeros(FEATURES),
            f"b_dec_{i}": torch.zeros(WIDTH),
            f"threshold_{i}": torch.full((FEATURES,), 48.0),  # 3 deviations: about 20 active a position
        }
        save_file(encoder, folder / f"W_enc_{i}.safetensors")
        _write_decoder(folder / f"W_dec_{i}.safetensors", f"W_dec_{i}", LAYERS - i, generator)
    return folder


def _write_decoder(path: Path, name: str, writes: int, generator: np.random.Generator) -> None:
    """Write (F, writes, d) numbers, a part at a time, the same numbers in each."""
    parts, shape = 8, [FEATURES, writes, WIDTH]
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * FEATURES * writes * WIDTH]}
    header = json.dumps({name: entry}).encode()
    header += b" " * (-len(header) % 8)
    part = generator.standard_normal((FEATURES // parts, writes, WIDTH), dtype=np.float32)
    with path.open("wb") as opened:
        opened.write(len(header).to_bytes(8, "little") + header)
        for _ in range(parts):
            opened.write(part.tobytes())


@pytest.mark.parametrize(("encoders", "budget"), [("lazy", 100 * MEGABYTE), ("held", 240 * MEGABYTE)])
def test_a_dictionary_larger_than_the_budget_stays_inside_it(large_folder, encoders, budget):
    decoders = sum(path.stat().st_size for path in large_folder.glob("W_dec_*"))
    both = decoders + sum(path.stat().st_size for path in large_folder.glob("W_enc_*"))
    assert decoders > 2.4 * budget
    assert encoders == "held" or both > 7 * budget
    figures = in_fresh_process(large_trace, large_folder, encoders == "lazy")
    assert figures["features"] > 300
    assert figures["edges"] > 1000
    assert figures["took"] < budget


@pytest.mark.parametrize("name", ["llama_clt_jumprelu", "gemma2_plt_jumprelu", "llama_plt_topk"])
def test_the_graph_is_the_same_with_encoders_left_in_their_files(golden_case, name):
    case = golden_case(name)
    lazy = load_transcoders(str(case.transcoders), lazy_encoder=True)
    model = case.model
    other = ReplacementModel.assemble(model.name, model.model, model.tokenizer, model.architecture, lazy)
    prompt = case.result("prompt0")["input_tokens"]
    held, left = attribute(model, prompt), attribute(other, prompt)
    assert torch.equal(held.active_features, left.active_features)
    torch.testing.assert_close(held.dense(), left.dense(), rtol=1e-5, atol=1e-6)
