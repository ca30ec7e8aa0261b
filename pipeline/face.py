"""The face of the package to people: the engine's `ReplacementModel`, which also knows the built-in names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from pipeline import model
from pipeline.builtin import resolve


class ReplacementModel(model.ReplacementModel):
    """A model, its tokenizer and its transcoders, ready to be frozen on a prompt."""

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        transcoders: str,
        device: torch.device | str | Sequence[torch.device | str] | None = None,
        dtype: torch.dtype = torch.float32,
        trust_remote_code: bool = False,
        lazy_encoder: bool = False,
        listed_commits: Mapping[str, str] | None = None,
        opening: str | int | None = None,
        zero_positions: int | None = None,
    ) -> ReplacementModel:
        """Load a model and its transcoders.

        Args:
            name: a folder, a name on the Hub as `org/name[@revision]`, or `demo` or `english` for a built-in
                model.
            transcoders: a folder, a name on the Hub as `org/name[/folder][@revision]`, `demo`, `english`, or
                `neurons` for the model's own (`neurons:64` for the 64 of a layer and position that write
                most).
            device: one device, or several over which the layers are laid out in order, each with its
                transcoders; by default the GPU if there is one.
            dtype: precision of weights and of everything computed with them.
            trust_remote_code: run code that the model's repository brings; off unless asked for.
            lazy_encoder: leave encoders in their files too, as decoders always are: slower, for transcoders
                that do not fit the device.
            listed_commits: commits at which transcoders that list files of other repositories read them
                (`Pinned.listed_commits`); by default each at the revision that is listed.
            opening: token in front of prompts that begin with no special one: `tokenizer` for what the
                tokenizer itself puts there, `none`, or a token by its text or id; by default BOS, else pad,
                else EOS.
            zero_positions: first positions that carry no features; by default 1, and 4 for a Gemma 3 whose
                tokenizer has its chat template.

        Raises:
            ConfigurationError: the opening is no token of this model.
            ModelError: the model cannot be loaded, or its architecture is not supported.
            TranscoderError: the transcoders cannot be read, or do not fit the model.

        """
        return super().from_pretrained(
            resolve(name, "model"),
            resolve(transcoders, "transcoders"),
            device,
            dtype,
            trust_remote_code,
            lazy_encoder,
            listed_commits,
            opening,
            zero_positions,
        )
