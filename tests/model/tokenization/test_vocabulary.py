"""Tokens by text and by id: every token has a label of its own, and a text names one token."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pipeline.builtin import MODEL
from pipeline.errors import TargetError
from pipeline.model import load_tokenizer, token_id, token_text
from pipeline.token_labels import printable_token, token_label

TEXTS = [
    "The capital of the state containing Dallas is Austin .",
    "naïve café, übergroß, 東京都 の 天気, 한국어, emoji 🦜🐍, math ∑∂, quotes ' \" \\ \\n `",
    "def f(x):\n\treturn x  # two  spaces\r\n",
    "zero\u200bwidth no\u00a0break \x07 bell",
]


def byte_level(texts: list[str], added: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """A vocabulary as GPT-2, Qwen and Llama 3 have them: all bytes, and what merges of them pay."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, special_tokens=["<|end|>"])
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", unk_token="<|end|>")


def byte_fallback(texts: list[str], strip: bool) -> PreTrainedTokenizerFast:
    """A vocabulary as Llama 2 (which strips the first space) and Gemma have them: characters, else bytes."""
    names = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if strip else steps)
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=names)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>")


def texts_of(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    return [token_text(tokenizer, token) for token in range(len(tokenizer) + 3)]


def labels(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    return [token_label(text) for text in texts_of(tokenizer)]


VOCABULARIES = {
    "demo": lambda: load_tokenizer(MODEL),
    "byte level": lambda: byte_level(TEXTS),
    "byte level with awkward additions": lambda: byte_level(TEXTS, ("\n", " the", "<0xE2>", "<id 7>", "é")),
    "byte fallback": lambda: byte_fallback(TEXTS, strip=False),
    "byte fallback, first space stripped": lambda: byte_fallback(TEXTS, strip=True),
}


@pytest.mark.parametrize("name", VOCABULARIES)
def test_every_token_of_a_vocabulary_has_a_label_of_its_own(name):
    found = labels(VOCABULARIES[name]())
    assert len(set(found)) == len(found)
    assert all(label.isprintable() for label in found)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_label_between_quotes_is_what_stands_between_them(name):
    """Viewers take a label apart at its quotes."""
    found = [printable_token(text) for text in texts_of(VOCABULARIES[name]())]
    between = [f'Output "{label}" (p=0.004)'.split('"')[1] for label in found]
    assert between == found
    assert len(set(found)) == len(found)
    assert all(label and label.isprintable() for label in found)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=5), st.integers(0, 2))
def test_labels_are_distinct_whatever_a_vocabulary_was_made_of(texts, kind):
    tokenizer = byte_level(texts) if kind == 0 else byte_fallback(texts, strip=kind == 1)
    found = labels(tokenizer)
    assert len(set(found)) == len(found)


def test_ordinary_tokens_keep_the_text_that_they_decode_to():
    for make in VOCABULARIES.values():
        tokenizer = make()
        kept = [token_text(tokenizer, i) == tokenizer.decode([i]) for i in range(len(tokenizer))]
        assert sum(kept) > 0.4 * len(kept)
    demo = load_tokenizer(MODEL)
    assert all(token_text(demo, i) == demo.decode([i]) for i in range(len(demo)))


def test_bytes_and_ids_without_text_are_named():
    tokenizer = byte_level(TEXTS)
    byte = tokenizer.convert_tokens_to_ids("â")  # the character that stands for 0xE2
    assert token_text(tokenizer, byte) == "<0xE2>"
    assert token_text(tokenizer, len(tokenizer)) == f"<id {len(tokenizer)}>"
    llama = byte_fallback(TEXTS, strip=True)
    assert token_text(llama, llama.convert_tokens_to_ids("<0x0A>")) == "<0x0A>"
    pieces = [piece for piece in llama.get_vocab() if piece.startswith("▁") and piece.strip("▁")]
    for piece in pieces:  # decoding one of them alone loses its space
        assert token_text(llama, llama.convert_tokens_to_ids(piece)) == piece.replace("▁", " ")
    assert pieces


@pytest.mark.parametrize(
    ("text", "label", "printable"),
    [
        (" Texas", "' Texas'", " Texas"),
        ("\n", r"'\n'", r"\n"),
        ("\\n", r"'\\n'", r"\\n"),
        ("\u200b", r"'\u200b'", r"\u200b"),
        ("<0xE2><0x80>", "<0xE2><0x80>", "<0xE2><0x80>"),
        ("<id 151700>", "<id 151700>", "<id 151700>"),
        ("東京", "'東京'", "東京"),
        ('"', "'\"'", r"\x22"),
        ("it's", '"it\'s"', "it's"),
    ],
)
def test_spaces_show_and_what_cannot_be_printed_is_escaped(text, label, printable):
    assert (token_label(text), printable_token(text)) == (label, printable)


def test_a_text_that_an_unknown_word_becomes_is_refused_even_where_the_id_means_more():
    words = Tokenizer(models.WordLevel({"<end>": 0, "a": 1, "b": 2}, unk_token="<end>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<end>", eos_token="<end>")
    assert token_id(tokenizer, "a", 3) == token_id(tokenizer, 1, 3) == 1
    assert token_id(tokenizer, "<end>", 3) == 0
    for wrong in ("zebra", "a b", "", 3, -1, True, 1.0, None):
        with pytest.raises(TargetError, match=repr(wrong)):
            token_id(tokenizer, wrong, 3)


def test_several_tokens_are_shown_piece_by_piece():
    tokenizer = byte_level(["Dallas Dallas Austin"])
    wrong = " Dallastin"
    ids = tokenizer.encode(wrong, add_special_tokens=False)
    assert len(ids) > 1
    with pytest.raises(TargetError) as caught:
        token_id(tokenizer, wrong, len(tokenizer))
    assert all(f"{tokenizer.decode([id])!r} (id {id})" in str(caught.value) for id in ids)


def test_a_token_is_named_by_its_own_text():
    tokenizer = byte_fallback(TEXTS, strip=True)
    # As Llama 2's: every text gets a space in front.
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    for piece in ("s", "▁the"):
        id = tokenizer.convert_tokens_to_ids(piece)
        assert token_id(tokenizer, token_text(tokenizer, id), len(tokenizer)) == id
    named = [token_text(tokenizer, id) for id in range(len(tokenizer))]
    whole = [id for id, text in enumerate(named) if text.strip() and "<" not in text]
    assert [token_id(tokenizer, named[id], len(tokenizer)) for id in whole] == whole


@pytest.mark.parametrize(("wrong", "right"), [("Dallas", " Dallas"), (" def", "def")])
def test_the_same_word_with_another_first_space_is_suggested(wrong: str, right: str):
    tokenizer = byte_level([right] * 50)
    id = token_id(tokenizer, right, len(tokenizer))
    with pytest.raises(TargetError, match=rf"; {right!r} is one \(id {id}\)"):
        token_id(tokenizer, wrong, len(tokenizer))
