"""Tokens of a vocabulary: from what a user writes to an id, and from an id to the text that tables hold."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from pipeline.errors import TargetError
from pipeline.token_labels import BYTES, is_token_name, token_label

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNDECODABLE = "\N{REPLACEMENT CHARACTER}"
"""Character that tokenizers write for bytes that are no character."""

SPACE_MARK = "▁"
"""SentencePiece's spelling of a space; decoding drops it from the first token of a text."""


def token_id(tokenizer: PreTrainedTokenizerBase, token: Any, vocabulary_size: int) -> int:
    """Return the id of a token that is named by its id or its text.

    A token whose text is exactly what is named goes before what the tokenizer makes of it: some put a space
    in front of each text and would give another token.

    Raises:
        TargetError: the text is not exactly one token that the vocabulary knows, or the id is outside it.

    """
    if not isinstance(token, str):
        if isinstance(token, int) and not isinstance(token, bool) and 0 <= token < vocabulary_size:
            return token
        raise TargetError(
            f"target {token!r} is neither a string nor a token id of this model: ids run from 0 to "
            f"{vocabulary_size - 1}."
        )
    if (exact := _spelt(tokenizer, token)) is not None:
        return exact
    ids = tokenizer.encode(token, add_special_tokens=False)
    if len(ids) != 1:
        pieces = ", ".join(f"{token_label(token_text(tokenizer, piece))} (id {piece})" for piece in ids)
        raise TargetError(
            f"{token!r} is {len(ids)} tokens in this model's vocabulary{': ' * bool(ids)}{pieces}. "
            f"Name a single token by its text or id{_near(tokenizer, token)}."
        )
    # Refused even where the id means something else too, such as the end of a text: what was written is lost.
    if ids[0] == tokenizer.unk_token_id and token != tokenizer.unk_token:
        raise TargetError(f"{token!r} is not in this model's vocabulary (mind a leading space).")
    return ids[0]


def _spelt(tokenizer: PreTrainedTokenizerBase, text: str) -> int | None:
    """Return the id of the token that has this text, where its piece can be told from it."""
    ids = tokenizer.convert_tokens_to_ids([text, text.replace(" ", SPACE_MARK)])
    found = (id for id in ids if id is not None and token_text(tokenizer, id) == text)
    return next(found, None)


def _near(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """Say which single token differs from a text in its first space, if one does."""
    other = text[1:] if text.startswith(" ") else f" {text}"
    ids = tokenizer.encode(other, add_special_tokens=False) if other.strip() else []
    is_it = len(ids) == 1 and token_text(tokenizer, ids[0]) == other
    return f"; {token_label(other)} is one (id {ids[0]})" if is_it else ""


def token_text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """Return a token's text, or its name where it has no text of its own; see `pipeline.token_labels`."""
    text = _text_or_name(tokenizer, token)
    if text is None:
        return f"<id {token}>"
    spelt_so = None if is_token_name(text) else tokenizer.convert_tokens_to_ids(text)
    if spelt_so in (None, token, tokenizer.unk_token_id):
        return text
    # Another token is spelt like this one's text: it has the text unless it means something else by it.
    return f"<id {token}>" if _text_or_name(tokenizer, spelt_so) == text else text


def _text_or_name(tokenizer: PreTrainedTokenizerBase, token: int) -> str | None:
    piece = tokenizer.convert_ids_to_tokens(token) if token < len(tokenizer) else None
    if piece is None:
        return None
    text = tokenizer.decode([token], clean_up_tokenization_spaces=False)
    if text == piece:
        return None if is_token_name(text) else text
    if BYTES.fullmatch(piece):
        return piece
    spaced = piece.replace(SPACE_MARK, " ")
    if piece.startswith(SPACE_MARK) and text == spaced[1:]:
        return spaced
    if UNDECODABLE in text:
        return _named_bytes(piece)
    return text or None


def _named_bytes(piece: str) -> str | None:
    """Return the text of a byte-level piece, or its bytes where they make no text; None for other pieces."""
    byte_of = _bytes_of_characters()
    if not all(character in byte_of for character in piece):
        return None
    raw = bytes(byte_of[character] for character in piece)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in raw)


@cache
def _bytes_of_characters() -> dict[str, int]:
    """Return the bytes for which the characters of byte-level vocabularies stand (GPT-2's table)."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {character: byte for byte, character in bytes_to_unicode().items()}
