"""Tensors left in their files: rows, blocks and wholes are the same numbers, wherever the file puts them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from pipeline.transcoders import weights
from pipeline.transcoders.tensors.npz import open_npz
from pipeline.transcoders.tensors.stored import StoredTensor, open_safetensors
from pipeline.transcoders.weights import StoredDecoder, StoredEncoder


def _unaligned(path: Path, values: torch.Tensor) -> StoredTensor:
    """Write a safetensors file whose data begin at an odd byte."""
    entry = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [0, values.nbytes]}
    header = json.dumps({"W": entry}).encode()
    header += b" " * (1 - (8 + len(header)) % 2)
    path.write_bytes(len(header).to_bytes(8, "little") + header + values.numpy().tobytes())
    return open_safetensors(path).stored("W")


def _stored(kind: str, folder: Path, values: torch.Tensor) -> StoredTensor:
    if kind == "unaligned":
        return _unaligned(folder / "a.safetensors", values)
    if kind == "safetensors":
        save_file({"other": torch.zeros(3), "W": values}, folder / "a.safetensors")
        return open_safetensors(folder / "a.safetensors").stored("W")
    save = np.savez if kind == "npz" else np.savez_compressed
    save(folder / "a.npz", other=np.zeros(3, np.float32), W=values.numpy())
    return open_npz(folder / "a.npz").stored("W")


@pytest.mark.parametrize("kind", ["safetensors", "unaligned", "npz", "compressed"])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_rows_of_any_file(kind, tmp_path_factory, data):
    shape = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5)))
    values = torch.arange(float(np.prod(shape))).view(shape)
    stored = _stored(kind, tmp_path_factory.mktemp("file"), values)
    rows = values.view(-1, shape[-1])
    assert torch.equal(stored.whole(), values)
    wanted = torch.tensor(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)), dtype=torch.long)
    assert torch.equal(stored.rows(wanted), rows[wanted])
    start = data.draw(st.integers(0, len(rows) - 1))
    stop = data.draw(st.integers(start + 1, len(rows)))
    assert torch.equal(stored.block(start, stop), rows[start:stop])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_rows_keep_the_files_element_type(dtype, tmp_path):
    values = torch.randn(7, 3).to(dtype)
    save_file({"W": values}, tmp_path / "a.safetensors")
    rows = open_safetensors(tmp_path / "a.safetensors").stored("W").rows(torch.tensor([6, 0]))
    assert rows.dtype == dtype
    assert torch.equal(rows, values[[6, 0]])


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("folded", [False, True])
def test_an_encoder_read_in_blocks(transposed, folded, tmp_path, monkeypatch):
    torch.manual_seed(0)
    matrix, inputs, scale = torch.randn(13, 5), torch.randn(4, 5), torch.rand(5) + 0.5
    save_file({"W": (matrix.T if transposed else matrix).contiguous()}, tmp_path / "a.safetensors")
    encoder = StoredEncoder.of(open_safetensors(tmp_path / "a.safetensors").matrix("W"), transposed)
    encoder = StoredEncoder(encoder.tensor, encoder.shape, transposed, 0, scale if folded else None)
    matrix = matrix * scale if folded else matrix
    monkeypatch.setattr(weights, "BLOCK_BYTES", 130)
    features = torch.tensor([12, 0, 12, 5])
    assert torch.equal(encoder.whole(), matrix)
    assert torch.equal(encoder[features], matrix[features])
    torch.testing.assert_close(encoder.products(inputs), inputs @ matrix.T)
    moved = encoder.to(torch.device("cpu"), torch.float64)
    assert moved[features].dtype == torch.float64
    torch.testing.assert_close(moved.products(inputs.double()), inputs.double() @ matrix.double().T)


def test_no_rows_are_no_error(tmp_path):
    save_file({"W": torch.randn(4, 2, 3)}, tmp_path / "a.safetensors")
    decoder = StoredDecoder.cross_layer(open_safetensors(tmp_path / "a.safetensors").stored("W"))
    assert decoder.rows(torch.zeros(0, dtype=torch.long), 1).shape == (0, 3)


def test_a_whole_tensor_can_be_changed_without_changing_the_file(tmp_path):
    save_file({"W": torch.ones(4, 3)}, tmp_path / "a.safetensors")
    stored = open_safetensors(tmp_path / "a.safetensors").stored("W")
    stored.whole().zero_()
    assert stored.whole().eq(1).all()
