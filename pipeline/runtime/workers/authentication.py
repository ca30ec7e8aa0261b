"""Who may speak to a Ray: a fresh token for one of our own, the user's for a cluster.

Ray listens on all of the machine's addresses, whatever it is told, and whoever reaches one of its ports runs
code there. So a Ray of our own asks for a token that only this process and those that it starts know, even
where `RAY_AUTH_MODE` says `disabled`: that is meant for clusters, and nobody else has business here. Its
files lie in a folder that other users of the machine cannot enter, since Ray lets everybody write to them.

Ray reads both variables when it is imported. Here it is made to read them again, so that it does not matter
whether a user's script has imported it before.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ConfigurationError

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"

TOKEN_BYTES = 32


@contextmanager
def own_token() -> Iterator[None]:
    """Let Ray ask for a token that nobody else knows, for as long as this lasts."""
    before = {name: os.environ.get(name) for name in (MODE, TOKEN)}
    os.environ.update({MODE: "token", TOKEN: secrets.token_hex(TOKEN_BYTES)})
    _read_again()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        _read_again()


def say_auth_mode() -> None:
    """Set the mode in which a cluster is joined, unless the user did: Ray's default changes by release."""
    token_file = Path("~/.ray/auth_token").expanduser()
    has_token = any(map(os.environ.get, (TOKEN, TOKEN_PATH))) or token_file.is_file()
    os.environ.setdefault(MODE, "token" if has_token else "disabled")
    _read_again()


def private_folder() -> Path:
    """Return a folder for Ray's files that only this user can enter.

    Raises:
        ConfigurationError: somebody else has taken its name.

    """
    from ray._common.utils import get_default_system_temp_dir

    # Short, since the paths of sockets in it may have only 107 characters.
    folder = Path(get_default_system_temp_dir(), f"ray-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(
            f"{folder} is not a folder that only you can enter, and Ray's files would lie in it: remove it, "
            "or set RAY_TMPDIR to another folder."
        )
    return folder / "ray"  # Ray makes the folder itself, and opens it to everybody


def _read_again() -> None:
    from ray._raylet import AuthenticationTokenLoader, Config

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
