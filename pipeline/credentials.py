"""Recognise URLs that hold credentials: they are stored with a run and shown, and so must hold none.

Credentials are a user and password before the host, the signature in a signed URL of AWS, Google or Azure
(`X-Amz-Signature`, `sig`), and parameters that are named like a secret (`token`, `api_key`).
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

SECRET = re.compile(
    r"(?i)signature|credential|token(?!iz)|secret|passw|pwd|api[-_]?key|access[-_]?key|key[-_]?pair|access[-_]?id"
    r"|oauth|authori[sz]ation|session|^(?:auth|sig|key|jwt|code|policy|sas)$"
)
"""Names of parameters whose values let somebody in."""


def holds_credentials(text: str) -> bool:
    """Tell if a path or URL, also a chained one (`simplecache::https://...`), would let somebody in."""
    return any(_holds_credentials(url) for url in text.split("::"))


def _holds_credentials(url: str) -> bool:
    if "://" not in url:
        return False
    parts = urlsplit(url)
    names = (pair.partition("=") for pair in re.split("[&;]", f"{parts.query}&{parts.fragment}"))
    return "@" in parts.netloc or any(value and SECRET.search(unquote(name)) for name, _, value in names)
