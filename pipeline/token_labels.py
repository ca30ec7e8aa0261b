"""A token's label, wherever a person reads one: in reports, in `show`, in exports, in the viewer.

Text is quoted, so that its spaces show, and what cannot be printed is escaped: `' Texas'`, `'\\n'`. Tokens
that have no text of their own are named without quotes: bytes that are only part of a character (`<0xE2>`),
and ids that decode to nothing or to another token's text (`<id 151700>`). Different tokens of a vocabulary
have different labels; `pipeline.model.token_text` gives the text.
"""

from __future__ import annotations

import re

BYTES = re.compile(r"(<0x[0-9A-F]{2}>)+")
"""Name of a token that is not a whole character."""

_IN_QUOTES = {"\\": r"\\", '"': r"\x22"}
"""Escapes between double quotes. A quote by its number: some readers split at every quote, escaped or not."""

_NAMES = re.compile(rf"{BYTES.pattern}|<id \d+>")


def token_label(text: str) -> str:
    """Return the label of a token, given its text as the tables hold it."""
    return text if is_token_name(text) else repr(text)


def printable_token(text: str) -> str:
    """Return a token's label without quotes, for formats that put double ones around it."""
    if is_token_name(text):
        return text
    return "".join(_IN_QUOTES.get(c) or (c if c.isprintable() else repr(c)[1:-1]) for c in text)


def is_token_name(text: str) -> bool:
    """Say if this is how a token without text is named."""
    return _NAMES.fullmatch(text) is not None
