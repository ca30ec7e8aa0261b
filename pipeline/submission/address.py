"""The address of a cluster's head, and the token that it may ask for."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.credentials import holds_credentials
from pipeline.errors import ConfigurationError

ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Variables that name a head."""

AUTH_MODE, TOKENS, TOKEN_FILE = (
    "RAY_AUTH_MODE",
    ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"),
    "~/.ray/auth_token",
)

CONNECT_SECONDS = 5.0
"""Wait for a head to answer."""


def head_address(given: str | None) -> str:
    """Return the URL of the head that an option or the environment names.

    Raises:
        ConfigurationError: neither names one, or not one that takes jobs.

    """
    address = given or next((value for name in ADDRESSES if (value := os.environ.get(name))), None)
    if address is None:
        raise ConfigurationError("no cluster is named: give --address http://HEAD:8265, or set RAY_ADDRESS.")
    if holds_credentials(address):
        raise ConfigurationError(
            "the cluster's address holds credentials, which would stand in messages and logs: leave them out "
            "(for a cluster that asks for a token, set RAY_AUTH_TOKEN)."
        )
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        raise ConfigurationError(
            f"address {address!r} is not of the form http://HEAD:8265: jobs are sent to the port of a head's "
            "dashboard. Where only ssh reaches the head: `ray dashboard cluster.yaml`, then "
            "http://localhost:8265."
        )
    return address.rstrip("/")


def say_auth_mode(address: str) -> None:
    """Set Ray's mode of authentication, which it would otherwise guess, and differently by release.

    Raises:
        ConfigurationError: it is by token, and there is none.

    """
    mode = os.environ.setdefault(AUTH_MODE, "token" if has_token() else "disabled")
    if mode == "token" and not has_token():
        raise ConfigurationError(token_advice(address))


def has_token() -> bool:
    """Tell if Ray finds a token here."""
    return any(map(os.environ.get, TOKENS)) or Path(TOKEN_FILE).expanduser().is_file()


def token_advice(address: str) -> str:
    """Return what to do about a head that does not let this process in."""
    is_sent = os.environ.get(AUTH_MODE) == "token" and has_token()
    state = "refuses the token that it is given" if is_sent else "is asked for jobs without a token"
    return (
        f"the Ray cluster at {address} {state}: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the cluster's "
        f"token or RAY_AUTH_TOKEN_PATH to a file that holds it (else {TOKEN_FILE} is read; "
        "`ray get-auth-token` on the head prints it)."
    )


def check_listening(address: str) -> None:
    """Check that a head listens there: Ray's client would wait without a limit.

    Raises:
        ConfigurationError: none does.

    """
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS).close()
    except OSError as error:
        raise ConfigurationError(
            f"no answer from {address} ({error}): check --address (the head's dashboard, by default on port "
            "8265), and that the cluster is up and lets this machine in."
        ) from error


@contextmanager
def named_by_argument() -> Iterator[None]:
    """Hide the variables that name a head, which win over the argument of Ray's client."""
    hidden = {name: os.environ.pop(name) for name in ADDRESSES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
