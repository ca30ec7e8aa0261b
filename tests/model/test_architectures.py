"""Models as their files say: the language model in a wrapper, opening positions, models that are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4TextConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from pipeline import ReplacementModel, attribute
from pipeline.errors import ModelError, PromptError
from pipeline.model.architectures import architecture_of
from tests.support.random_models import tokenizer
from tests.support.tiny_model import make_transcoders

TOKENS = [1, 5, 9, 7, 30]

TEXT = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 64,
}

VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
}


def _gemma() -> Gemma3ForConditionalGeneration:
    config = Gemma3Config(text_config=TEXT, vision_config=VISION, mm_tokens_per_image=4)
    return Gemma3ForConditionalGeneration(config)


def _llava() -> LlavaForConditionalGeneration:
    config = LlavaConfig(text_config={"model_type": "llama", **TEXT}, vision_config={**VISION})
    return LlavaForConditionalGeneration(config)


def _mistral() -> Mistral3ForConditionalGeneration:
    config = Mistral3Config(text_config={"model_type": "mistral", **TEXT}, vision_config={**VISION})
    return Mistral3ForConditionalGeneration(config)


def _gemma_4() -> Gemma4ForConditionalGeneration:
    text = {
        **TEXT,
        "layer_types": ["sliding_attention", "full_attention", "full_attention"],
        "num_kv_shared_layers": 1,
        "hidden_size_per_layer_input": 4,
        "vocab_size_per_layer_input": 64,
        "global_head_dim": 8,
        "use_bidirectional_attention": "vision",
        "pad_token_id": 0,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "patch_size": 4,
        "position_embedding_size": 16,
    }
    return Gemma4ForConditionalGeneration(Gemma4Config(text_config=text, vision_config=vision))


@pytest.mark.parametrize("make", [_gemma, _gemma_4, _llava, _mistral])
def test_a_wrapper_is_traced_as_its_language_model(make, tmp_path):
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    model.save_pretrained(tmp_path / "whole")
    tokenizer().save_pretrained(tmp_path / "whole")
    transcoders = make_transcoders(tmp_path / "transcoders", layers=3)
    _write_at_mlp_out(Path(transcoders))
    loaded = ReplacementModel.from_pretrained(str(tmp_path / "whole"), transcoders=transcoders, device="cpu")
    logits = model(input_ids=torch.tensor([TOKENS])).logits[0, -1]
    torch.testing.assert_close(loaded.freeze(torch.tensor(TOKENS)).logits, logits, atol=1e-5, rtol=1e-5)
    assert (loaded.n_layers, loaded.vocabulary_size) == (3, 64)
    loaded.model.save_pretrained(tmp_path / "twin")
    tokenizer().save_pretrained(tmp_path / "twin")
    twin = ReplacementModel.from_pretrained(str(tmp_path / "twin"), transcoders=transcoders, device="cpu")
    torch.testing.assert_close(attribute(loaded, TOKENS).dense(), attribute(twin, TOKENS).dense())


def _write_at_mlp_out(folder: Path) -> None:
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("mlp.hook_out", "hook_mlp_out"))


def test_a_wrapper_around_an_unknown_language_model_is_refused_by_both_names(tmp_path):
    config = LlavaConfig(text_config={"model_type": "opt"}, vision_config={**VISION})
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="'opt' is not supported"):
        ReplacementModel.from_pretrained(str(tmp_path), transcoders="./nowhere")


@pytest.mark.parametrize(
    "config",
    [
        Gemma3TextConfig(use_bidirectional_attention=True),
        Gemma4TextConfig(use_bidirectional_attention="all"),
        LlamaConfig(is_causal=False),
    ],
)
def test_a_model_that_looks_at_later_tokens_is_refused(config: PretrainedConfig):
    with pytest.raises(ModelError, match="looks at later tokens"):
        architecture_of(config)


GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>{{ message.role }}\n"
    "{{ message.content }}<end_of_turn>\n{% endfor %}"
)


@pytest.fixture
def chat_model(golden_case, tmp_path: Path) -> Path:
    """An instruction-tuned Gemma 3 with the opening ids that its tokenizer has."""
    folder = shutil.copytree(golden_case("gemma3_it_plt_jumprelu").model_folder, tmp_path / "my-finetune")
    vocabulary = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<start_of_turn>": 105, "user": 2364, "\n": 107}
    free = (id for id in range(3, 3000) if id not in vocabulary.values())
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    vocabulary |= {f"w{id}": id for id in free if id < size}
    level = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    level.pre_tokenizer = pre_tokenizers.Split(Regex(r"<\w+>|w\d+|user|\n"), "isolated")
    made = PreTrainedTokenizerFast(
        tokenizer_object=level,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        chat_template=GEMMA_TEMPLATE,
    )
    made.add_tokens([AddedToken("<start_of_turn>", special=True)])
    made.save_pretrained(folder)
    return folder


PROMPT = [2, 105, 2364, 107, 173, 244, 92]


@pytest.fixture
def load(golden_case):
    """Load a model with the golden case's dictionary."""
    transcoders = str(golden_case("gemma3_it_plt_jumprelu").transcoders)
    return lambda folder, **options: ReplacementModel.from_pretrained(
        str(folder), transcoders=transcoders, device="cpu", **options
    )


def _first_position(model: ReplacementModel) -> int:
    return int(attribute(model, PROMPT).active_features[:, 1].min())


def test_opening_positions_follow_the_template_and_not_the_folders_name(
    chat_model, load, tmp_path, monkeypatch
):
    assert _first_position(load(chat_model)) == 4
    monkeypatch.chdir(chat_model)
    assert _first_position(load(".")) == 4
    base = shutil.copytree(chat_model, tmp_path / "gemma-3-1b-it")
    (base / "chat_template.jinja").unlink()
    assert _first_position(load(base)) == 1


def test_zero_positions_can_be_said(chat_model, load):
    assert _first_position(load(chat_model, zero_positions=2)) == 2
    with pytest.raises(PromptError, match="zero_positions"):
        attribute(load(chat_model), [2, 9, 9, 9, 9, 9])
    with pytest.raises(PromptError, match="first 7 carry no features"):
        attribute(load(chat_model, zero_positions=7), PROMPT)
