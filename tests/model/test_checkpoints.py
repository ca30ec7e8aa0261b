"""A checkpoint is whole, or refused with the names of its tensors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from pipeline import ReplacementModel, attribute
from pipeline.errors import ModelError
from tests.support.random_models import random_model
from tests.support.recipes import GEMMA_4
from tests.support.tiny_model import make_model, make_transcoders

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return Path(make_model(tmp_path / "model")), Path(make_transcoders(tmp_path / "transcoders"))


def _edit(folder: Path, change: Callable[[Tensors], object]) -> None:
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def _configure(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _load(folders: tuple[Path, Path]) -> ReplacementModel:
    return ReplacementModel.from_pretrained(str(folders[0]), transcoders=str(folders[1]), device="cpu")


@pytest.mark.parametrize(
    "name",
    [
        "lm_head.weight",
        "model.embed_tokens.weight",
        "model.norm.weight",
        "model.layers.1.self_attn.o_proj.weight",
        "model.layers.0.post_attention_layernorm.weight",
    ],
)
def test_a_missing_tensor_is_named(folders, name):
    _edit(folders[0], lambda tensors: tensors.pop(name))
    with pytest.raises(ModelError, match=rf"lacks tensors.*: {name}"):
        _load(folders)


def test_weights_under_another_prefix_are_refused(folders):
    _edit(folders[0], lambda tensors: [tensors.update({f"net.{k}": tensors.pop(k)}) for k in [*tensors]])
    with pytest.raises(ModelError, match=r"lacks tensors.*more; it holds tensors.*: net\."):
        _load(folders)


def test_a_layer_too_many_is_named(folders):
    _edit(
        folders[0],
        lambda tensors: tensors.update(
            {k.replace("s.1.", "s.2."): v.clone() for k, v in tensors.items() if "s.1." in k}
        ),
    )
    with pytest.raises(ModelError, match=r"no use for: model\.layers\.2\.input_layernorm\.weight.*3 more"):
        _load(folders)


def test_a_bias_that_the_configuration_switches_off_is_named(folders):
    name = "model.layers.0.self_attn.o_proj.bias"
    _edit(folders[0], lambda tensors: tensors.update({name: torch.ones(16)}))
    with pytest.raises(ModelError, match=rf"no use for: {name}"):
        _load(folders)


def test_a_tensor_of_another_size_is_named_with_both(folders):
    _edit(folders[0], lambda tensors: tensors.update({"lm_head.weight": tensors["lm_head.weight"][:-1]}))
    with pytest.raises(ModelError, match=r"lm_head\.weight is \(31, 16\) in the file and \(32, 16\) by"):
        _load(folders)


def test_a_tied_head_need_not_be_in_the_file(tmp_path):
    torch.manual_seed(0)
    folder = Path(make_model(tmp_path / "model"))
    tied = LlamaForCausalLM(LlamaConfig.from_pretrained(folder, tie_word_embeddings=True))
    tied.save_pretrained(folder)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    folders = folder, Path(make_transcoders(tmp_path / "transcoders"))
    assert torch.equal(_load(folders).unembedding, tied.lm_head.weight)
    _configure(folder, tie_word_embeddings=False)
    with pytest.raises(ModelError, match=r"lacks tensors.*: lm_head\.weight\."):
        _load(folders)


def test_a_load_gives_the_same_graph_again(folders):
    first, second = (attribute(_load(folders), [1, 5, 9, 7]) for _ in range(2))
    assert torch.equal(first.dense(), second.dense())


def test_mask_buffers_of_old_files_are_left_out(tmp_path):
    model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=12, vocab_size=32))
    folder = Path(make_model(tmp_path / "model"))  # for its tokenizer
    model.save_pretrained(folder)
    masks = {
        f"transformer.h.0.attn.{name}": torch.ones(1, 1, 12, 12).tril() for name in ("bias", "masked_bias")
    }
    _edit(folder, lambda tensors: tensors.update(masks))
    folders = folder, Path(make_transcoders(tmp_path / "transcoders"))
    assert _load(folders).n_layers == 2


def test_keys_that_gemma_4_takes_from_another_layer_may_be_in_the_file(tmp_path):
    """Published checkpoints hold the weights of layers that share others' keys and values."""
    folder = tmp_path / "model"
    random = random_model(GEMMA_4[0], torch.float32)
    random.model.save_pretrained(folder)
    random.tokenizer.save_pretrained(folder)
    name = "model.layers.5.self_attn.{}_proj.weight"
    _edit(folder, lambda tensors: tensors.update({name.format(k): torch.ones(16, 16) for k in "kv"}))
    loaded = ReplacementModel.from_pretrained(str(folder), transcoders="neurons", device="cpu")
    tokens = torch.tensor([1, 5, 9, 7])
    torch.testing.assert_close(loaded.freeze(tokens).logits, random.freeze(tokens).logits)
