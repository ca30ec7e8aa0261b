"""The model and transcoders of a sweep: pinned when it starts, and loaded again later exactly as they were.

An output records a commit, or the hash of a folder's content, for each, and the precision. Whoever needs the
model of a finished sweep (validation, export, weights between features) loads it here: it makes no difference
how far the Hub's `main` has moved since, and a folder that has changed is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.builtin import NAMES, resolve
from pipeline.errors import ConfigurationError
from pipeline.hub import Kind, Pinned, pin
from pipeline.store import Output

if TYPE_CHECKING:
    from pipeline.model import ReplacementModel


@dataclass(frozen=True)
class SweepModel:
    """A model with its transcoders as a sweep used them; small, to be sent to workers."""

    model: Pinned
    transcoders: Pinned
    dtype: str
    """Precision of weights and of everything computed with them, such as `float32`."""

    trust_remote_code: bool = False
    """Run code that the model's repository brings."""

    opening: str | int | None = None
    """Token in front of a text that begins with no special one; see `ReplacementModel.from_pretrained`."""

    zero_positions: int | None = None
    """First positions that carry no features; by default as the model's template says."""

    def load(self, device: str | Sequence[str] | None = None, lazy_encoder: bool = False) -> ReplacementModel:
        """Load them.

        Args:
            device: one or several; by default the GPU if there is one.
            lazy_encoder: leave encoders in their files.

        Raises:
            ModelError, TranscoderError: they cannot be loaded.

        """
        import torch

        from pipeline.model import ReplacementModel

        return ReplacementModel.from_pretrained(
            resolve(self.model.name, "model"),
            transcoders=resolve(self.transcoders.name, "transcoders"),
            device=device,
            dtype=getattr(torch, self.dtype),
            trust_remote_code=self.trust_remote_code,
            lazy_encoder=lazy_encoder,
            listed_commits=self.transcoders.listed_commits,
            opening=self.opening,
            zero_positions=self.zero_positions,
        )


def pin_input(name: str, kind: Kind, commits: Mapping[str, str] | None = None) -> Pinned:
    """Fix a sweep's model or transcoders to the content they have now.

    Args:
        name: a folder, a name on the Hub, or a built-in one.
        kind: of thing that it names.
        commits: where repositories that transcoders list are pinned already (`Pinned.listed_commits`).

    Raises:
        ModelError, TranscoderError: they cannot be found.

    """
    pinned = pin(resolve(name, kind), kind, commits)
    # The built-in files lie elsewhere on each machine, so the word is what workers get.
    return replace(pinned, name=name) if name in NAMES else pinned


def recorded_model(output: Output, trust_remote_code: bool = False) -> SweepModel:
    """Return the model of the sweep that an output holds.

    Args:
        output: of a sweep.
        trust_remote_code: run code that the model's repository brings, if the sweep did.

    Raises:
        ConfigurationError: a folder holds something else now, or the sweep ran a repository's code and this
            is not allowed here: an output must not be able to ask for that by itself.
        ModelError, TranscoderError: a folder is gone.

    """
    run = output.claimed().run
    if run.get("trust_remote_code") and not trust_remote_code:
        raise ConfigurationError(
            f"the sweep in {output.url} ran Python code from the repository of model "
            f"{run['model']['name']!r}: if you trust that repository too, add --trust-remote-code."
        )
    return SweepModel(
        model=_recorded(run["model"], "model"),
        transcoders=_recorded(run["transcoders"], "transcoders"),
        dtype=run["dtype"],
        trust_remote_code=trust_remote_code,
        opening=run.get("opening"),
        zero_positions=run.get("zero_positions"),
    )


def _recorded(described: Mapping[str, Any], kind: Kind) -> Pinned:
    fingerprint = {key: value for key, value in described.items() if key != "name"}
    if "content" not in fingerprint:
        # Beside the set itself stand the repositories that it lists files of.
        repository = next(key for key in fingerprint if not key.startswith("hf://"))
        return Pinned(f"{repository}@{fingerprint[repository]}", None, fingerprint)
    # Only the files here can have changed: the Hub still has the commits that the folder's list stood for.
    pinned = pin_input(described["name"], kind, Pinned("", None, fingerprint).listed_commits)
    if pinned.fingerprint != fingerprint:
        raise ConfigurationError(
            f"{kind} {described['name']!r} changed since the sweep: put the old files back, or run the sweep "
            "again into another output."
        )
    return pinned
