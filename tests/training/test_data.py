"""Text to rows: what is held out, what is left out, and what a group runs."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from pipeline.errors import ConfigurationError, StoreError, TrainingError
from pipeline.model import LanguageModel, hooked_output, load_tokenizer
from pipeline.training import GroupTraining, TrainingTokens, load_language_model, prepare_tokens
from pipeline.training.data import ActivationReader, is_held_out, padded_passes
from tests.support.random_models import random_model
from tests.support.recipes import RECIPES, recipe_name
from tests.support.tiny_model import WORDS, sentence


def texts_of(token_set):
    return {tuple(sequence.tolist()) for sequence in token_set.sequences(range(len(token_set)))}


def test_a_document_stays_on_its_side_whatever_text_is_added(tiny_dictionary, tmp_path):
    few = [sentence(n) for n in range(50)]
    many = [sentence(n) for n in range(100, 180)] + few + few
    found = []
    for name, lines in (("few", few), ("many", many)):
        source = tmp_path / f"{name}.txt"
        source.write_text("\n".join(lines))
        config = tiny_dictionary(text={"source": str(source), "held_out": 0.3})
        found.append(prepare_tokens(config, tmp_path / name))
    before, after = found
    assert texts_of(before.train) <= texts_of(after.train)
    assert texts_of(before.held_out) <= texts_of(after.held_out)
    assert not texts_of(after.train) & texts_of(after.held_out)
    assert before.description.hash != after.description.hash
    share = after.description.held_out.documents / 180
    assert 0.2 < share < 0.4


def test_no_step_of_many_epochs_sees_a_held_out_sequence(train_tiny):
    trained = train_tiny(steps=60)
    rows = trained.training.rows
    seen = np.unique(
        np.concatenate([rows.order.sequences_of(n) for n in range(rows.order.locate(59)[0] + 1)])
    )
    held_out = texts_of(trained.tokens.held_out)
    assert not {tuple(s.tolist()) for s in trained.tokens.train.sequences(seen)} & held_out
    assert len(seen) == len(trained.tokens.train)


def test_the_share_is_of_the_hash():
    documents = [f"document {n}".encode() for n in range(4000)]
    assert np.mean([is_held_out(each, 0.1) for each in documents]) == pytest.approx(0.1, abs=0.02)


def test_long_documents_are_cut_and_opened_again(tiny_dictionary, tmp_path):
    source = tmp_path / "long.jsonl"
    words = " ".join(f"w{n % 28}" for n in range(40))
    source.write_text("\n".join(json.dumps({"text": f"w{n} {words}"}) for n in range(20)))
    config = tiny_dictionary(text={"source": str(source), "held_out": 0.5, "context": 8})
    tokens = prepare_tokens(config, tmp_path / "tokens").train
    sequences = tokens.sequences(range(len(tokens)))
    assert all(len(each) <= 8 and each[0] == 1 for each in sequences)
    of_first = [each[1:].tolist() for each, n in zip(sequences, tokens.documents, strict=True) if n == 0]
    assert [WORDS[token] for part in of_first for token in part][1:] == words.split()
    assert [len(each) - 1 for each in sequences] == tokens.rows.tolist()


def test_a_folder_of_another_text_is_refused_and_damage_is_found(tiny_dictionary, text, tmp_path):
    config = tiny_dictionary()
    first = prepare_tokens(config, tmp_path / "tokens")
    assert prepare_tokens(config, tmp_path / "tokens").description == first.description
    other = tiny_dictionary(text={"source": text, "held_out": 0.2})
    with pytest.raises(StoreError, match="another text, model or cut"):
        prepare_tokens(other, tmp_path / "tokens")
    path = tmp_path / "tokens" / "train.tokens"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    with pytest.raises(StoreError, match="damaged"):
        TrainingTokens.open(tmp_path / "tokens").verify()


def test_text_without_a_word_that_can_be_used_is_refused(tiny_dictionary, tmp_path):
    source = tmp_path / "strange.txt"
    source.write_text("\n".join(f"strange{n} words{n}" for n in range(30)))
    with pytest.raises(ConfigurationError, match="no token of the text is in the set 'train'"):
        prepare_tokens(tiny_dictionary(text={"source": str(source)}), tmp_path / "tokens")


def test_text_that_cannot_be_read_is_named_by_its_key(tiny_dictionary, tmp_path):
    with pytest.raises(ConfigurationError, match=r"text\.source: .*does not exist"):
        prepare_tokens(tiny_dictionary(text=str(tmp_path / "none.txt")), tmp_path / "tokens")
    source = tmp_path / "text.jsonl"
    source.write_text(json.dumps({"content": "w1", "id": 3}))
    with pytest.raises(ConfigurationError, match=r"has no column 'text'.*Name the right one in text\.text"):
        prepare_tokens(tiny_dictionary(text=str(source)), tmp_path / "tokens")


def test_conversations_are_written_with_the_template(tiny, tiny_dictionary, tmp_path):
    model = shutil.copytree(tiny / "model", tmp_path / "model")
    tokenizer = load_tokenizer(str(model))
    tokenizer.chat_template = (
        "{% for m in messages %}w{{ loop.index }} {{ m['content'] }} {% endfor %}"
        "{% if add_generation_prompt %}w27 {% endif %}"
    )
    tokenizer.save_pretrained(model)
    talks = [
        [{"role": "user", "content": f"w{n} w{n + 1}"}, {"role": "assistant", "content": "w9"}]
        for n in range(20)
    ]
    source = tmp_path / "talks.jsonl"
    source.write_text("\n".join(json.dumps({"messages": talk}) for talk in talks))
    text = {"source": str(source), "text": "messages", "chat": True, "held_out": 0.5}
    tokens = prepare_tokens(tiny_dictionary(model=str(model), text=text), tmp_path / "tokens")
    found = texts_of(tokens.train) | texts_of(tokens.held_out)
    expected = {tuple(tokenizer(f"w1 w{n} w{n + 1} w2 w9")["input_ids"]) for n in range(20)}
    assert found == expected


@contextmanager
def planted(model: LanguageModel, layer: int, passes):
    """Put 1e4 at every position that is not used, in what the last layer reads and writes."""
    unused = iter([~each.used for each in passes])
    current: list[torch.Tensor] = []

    def plant_read(_, output):
        current[:] = [next(unused)]
        return output.masked_fill(current[0][..., None], 1e4)

    def plant_write(_, output):
        return output.masked_fill(current[0][..., None], 1e4)

    block = model.layers[layer]
    with hooked_output(block.post_attention_layernorm, plant_read), hooked_output(block.mlp, plant_write):
        yield


def test_positions_without_features_never_reach_a_row(tiny_dictionary, tmp_path):
    config = tiny_dictionary()
    model = load_language_model(config)
    tokens = prepare_tokens(config, tmp_path / "tokens").train
    with_special = [
        np.insert(each, len(each) // 2, 2) for each in tokens.sequences(range(60))
    ]  # <eos> inside
    passes = list(padded_passes(model, with_special, 200))
    assert len(passes) > 2
    reader = ActivationReader(model, range(1, 2), "mlp.hook_in")
    plain = [part[1] for part in reader.passes(passes)]
    with planted(model, 1, passes):
        spoilt = [part[1] for part in reader.passes(passes)]
    for before, after in zip(plain, spoilt, strict=True):
        assert torch.equal(before.inputs, after.inputs)
        assert torch.equal(before.outputs, after.outputs)
    counted = sum(int((each[1:] != 2).sum()) for each in with_special)
    assert sum(len(part.inputs) for part in plain) == counted


@pytest.mark.parametrize("recipe", RECIPES, ids=recipe_name)
def test_a_model_that_is_cut_reads_as_the_whole_one(recipe):
    whole = random_model(recipe)
    model = LanguageModel.of("random", whole.model, whole.tokenizer)
    sequences = [np.array([1, 7, 12, 30, 7, 25]), np.array([1, 5, 9])]
    hook = recipe.input_hook
    n_layers = len(model.layers)
    expected = ActivationReader(model, range(n_layers), hook).rows(sequences)[0]
    found = ActivationReader(model, range(1), hook).rows(sequences)[0]
    torch.testing.assert_close(found.inputs, expected.inputs, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.outputs, expected.outputs, rtol=0, atol=1e-12)
    assert len(model.layers) == n_layers


def test_layers_above_a_group_are_not_run(tiny_dictionary, tmp_path):
    config = tiny_dictionary()
    model = load_language_model(config)
    tokens = prepare_tokens(config, tmp_path / "tokens").train
    ran: list[int] = []
    for number, layer in enumerate(model.layers):
        layer.register_forward_hook(lambda *_, number=number: ran.append(number))
    ActivationReader(model, range(1), "mlp.hook_in").rows(tokens.sequences(range(10)))
    assert set(ran) == {0}


def test_another_text_cannot_go_on_with_a_training(train_tiny, tiny_dictionary, tmp_path):
    trained = train_tiny(steps=2)
    source = tmp_path / "other.txt"
    source.write_text("\n".join(sentence(n) for n in range(80)))
    other = tiny_dictionary(steps=2, text={"source": str(source), "held_out": 0.3})
    tokens = prepare_tokens(other, tmp_path / "tokens")
    with pytest.raises(TrainingError, match="put the old text back"):
        GroupTraining.resume(trained.config, trained.model, tokens, trained.training.state())


def test_a_training_on_a_model_goes_on_to_the_same_bits(train_tiny, tiny_dictionary, tmp_path):
    trained = train_tiny(steps=24)
    model = load_language_model(trained.config)
    again = GroupTraining.begin(trained.config, model, trained.tokens, range(2))
    for until in (5, 16):
        while again.group.step_number < until:
            again.step()
        again = GroupTraining.resume(trained.config, model, trained.tokens, again.state())
    while not again.done:
        again.step()
    again.state().save(tmp_path / "again")
    trained.training.state().save(tmp_path / "whole")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_batch_that_stops_a_training_is_named(train_tiny):
    trained = train_tiny(steps=3)
    training = GroupTraining.begin(trained.config, trained.model, trained.tokens, range(2))
    training.step()
    training.group.layers[1].weights.decoder_bias.data[0] = float("nan")
    with pytest.raises(
        TrainingError, match=r"layer 1, step 1.*number 1 of buffer 0, which begins with sequences"
    ):
        training.step()


def test_a_device_that_is_too_small_is_answered_with_what_to_do(train_tiny, monkeypatch):
    trained = train_tiny(steps=3)
    training = GroupTraining.begin(trained.config, trained.model, trained.tokens, range(2))

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("pipeline.training.group_training.TrainingRows.step", full)
    with pytest.raises(TrainingError, match="lower batch, buffer or features"):
        training.step()
