"""Fetch from the Hub into its cache on this machine; what goes wrong there is said in a line."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import CircuitSweepError
from pipeline.hub.names import ERRORS, HubName, Kind

_log = logging.getLogger(__name__)


def fetch_snapshot(name: HubName, kind: Kind, wanted: Sequence[str], unwanted: Sequence[str] = ()) -> Path:
    """Fetch the files of a repository that fit one of some patterns; return the folder of their commit.

    The cache calls that folder by the commit. Offline it is the commit that was fetched last.

    Raises:
        ModelError, TranscoderError: the Hub does not have, or does not give, the repository.

    """
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                name.repository,
                revision=name.revision,
                allow_patterns=list(wanted),
                ignore_patterns=list(unwanted),
            )
        )
    except Exception as error:
        raise _cannot_fetch(name, kind, error) from error


def list_files(name: HubName) -> list[str] | None:
    """Return the paths of all files of a repository, or None where the Hub does not answer (offline, say)."""
    from huggingface_hub import list_repo_files

    try:
        return list(list_repo_files(name.repository, revision=name.revision))
    except Exception as error:  # whatever is wrong, fetching says it better
        _log.debug("no list of the files of %s: %s", name.repository, error)
        return None


def fetch_file(name: HubName, kind: Kind) -> Path:
    """Fetch one file.

    Raises:
        ModelError, TranscoderError: the name is of a whole repository, or the Hub does not give the file.

    """
    from huggingface_hub import hf_hub_download

    if not name.path:
        raise ERRORS[kind](
            f"{name.repository!r} is a whole repository, but one of its files is needed: hf://org/name/file."
        )
    try:
        return Path(hf_hub_download(name.repository, name.path, revision=name.revision))
    except Exception as error:
        raise _cannot_fetch(name, kind, error) from error


def _cannot_fetch(name: HubName, kind: Kind, error: Exception) -> CircuitSweepError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ERRORS[kind](
        f"{kind} {name.without_revision!r} not found: no folder here, and not to be had from the Hugging "
        f"Face Hub ({type(error).__name__}: {reason}): check the name and the network, or log in."
    )
