"""The model and the dictionary of a finished sweep, as they were when it ran."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.errors import ConfigurationError
from pipeline.store import Output
from pipeline.sweep.pinning import Pinned, pin_model, pin_transcoders

PINS = {"model": pin_model, "transcoders": pin_transcoders}


def recorded(output: Output) -> dict[str, Pinned]:
    """A sweep's `model` and `transcoders` as they were: a hub's commit, or a folder that has not changed.

    Raises:
        ConfigurationError: a folder holds something else now.

    """
    run = output.claimed().run
    return {what: _pinned(what, run[what]) for what in PINS}


def recorded_names(output: Output) -> dict[str, str]:
    """What to load to have a sweep's `model` and `transcoders` again.

    Raises:
        ConfigurationError: a folder holds something else now.

    """
    return {what: pinned.name for what, pinned in recorded(output).items()}


def _pinned(what: str, recorded: Mapping[str, str]) -> Pinned:
    fingerprint = {key: value for key, value in recorded.items() if key != "name"}
    if "content" not in fingerprint:
        place, commit = next(iter(fingerprint.items()))
        return Pinned(f"{place}@{commit}", None, fingerprint)
    pinned = PINS[what](recorded["name"])
    if pinned.fingerprint != fingerprint:
        raise ConfigurationError(
            f"{what} {recorded['name']!r} is not what the sweep used any more (its content differs): put the "
            "old files back, or run the sweep again into another output."
        )
    return pinned
