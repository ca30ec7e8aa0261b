"""Recognise URLs that hold credentials: they are stored with a run and shown, and so must hold none.

Credentials are a user and password before the host, the signature in a signed URL of AWS, Google or Azure
(`X-Amz-Signature`, `sig`), and parameters that are named like a secret (`token`, `api_key`).
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from pipeline.errors import ConfigurationError

SECRET = re.compile(
    r"(?i)signature|credential|secret|passw|pwd|api[-_]?key|access[-_]?(?:key|id|token)|rlkey|key[-_]?pair"
    r"|oauth|authori[sz]ation|^(?:auth|token|sig|jwt|sas)$"
)
"""Names of parameters whose values let somebody in."""

AMBIGUOUS = re.compile(r"(?i)token(?!iz)|session|^(?:key|code|policy)$")
"""Names of parameters that are as often a number or a language as a secret."""

SECRET_LENGTH = 16
"""Least characters of a secret under an ambiguous name."""


def holds_credentials(text: str) -> bool:
    """Tell if a path or URL, also a chained one (`simplecache::https://...`), would let somebody in."""
    return any(_holds_credentials(url) for url in text.split("::"))


def without_credentials(name: str, value: str) -> str:
    """Return a path or URL that may be stored and shown.

    Raises:
        ConfigurationError: it holds a user, a password, or the signature of a signed URL.

    """
    if holds_credentials(value):
        # Not a ValueError: pydantic would print the value, and the password with it.
        raise ConfigurationError(
            f"{name} must not hold credentials (a user, a password, a signed URL), since it is stored with "
            "the run: set them in the environment (for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), use "
            "a role, or download the file."
        )
    return value


def _holds_credentials(url: str) -> bool:
    if "://" not in url:
        return False
    parts = urlsplit(url)
    # Behind semicolons a path has parameters too.
    _, _, of_path = parts.path.partition(";")
    pairs = (pair.partition("=") for pair in re.split("[&;]", f"{of_path}&{parts.query}&{parts.fragment}"))
    return "@" in parts.netloc or any(_is_secret(unquote(name), value) for name, _, value in pairs)


def _is_secret(name: str, value: str) -> bool:
    return bool(value and SECRET.search(name)) or bool(len(value) >= SECRET_LENGTH and AMBIGUOUS.search(name))
