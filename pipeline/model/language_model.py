"""A Hugging Face causal language model without transcoders, as training and measuring them need it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from pipeline.model import loading, tokenization
from pipeline.model.architectures import Architecture, architecture_of
from pipeline.model.linear import NormMap, norm_map
from pipeline.model.unnormed import add_missing_norms


@dataclass(frozen=True)
class LanguageModel:
    """A model with its tokenizer, in evaluation mode with eager attention."""

    name: str
    """Folder or hub name the model came from."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    architecture: Architecture

    zero_positions: int
    """First positions that carry no features."""

    @classmethod
    def load(
        cls,
        name: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        trust_remote_code: bool = False,
    ) -> LanguageModel:
        """Load a model.

        Args:
            name: a folder, or a name on the Hub as `org/name[@revision]`.
            device: by default the GPU if there is one.
            dtype: precision of weights and of everything computed with them.
            trust_remote_code: run code that the model's repository brings.

        Raises:
            ModelError: it cannot be loaded, or its architecture is not supported.

        """
        home = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        whole = loading.whole_config(name, trust_remote_code)
        architecture_of(loading.traced_part(whole))  # refuses before weights are fetched and read
        tokenizer = tokenization.load_tokenizer(name, trust_remote_code)
        loaded = loading.load_model(name, whole, dtype, {"": home}, trust_remote_code)
        return cls.of(name, loading.language_model(loaded), tokenizer)

    @classmethod
    def of(cls, name: str, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> LanguageModel:
        """Describe a model in memory."""
        architecture = architecture_of(model.config)
        add_missing_norms(model, architecture)
        prefix = tokenization.fixed_prefix(model.config, tokenizer)
        return cls(name, model, tokenizer, architecture, len(prefix) or 1)

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder layers."""
        return self.model.get_submodule(self.architecture.layers)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.model.config.hidden_size

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the model."""
        return next(self.model.parameters()).dtype

    def mlp_norm(self, layer: int) -> NormMap:
        """Describe the norm that a layer's MLP reads through."""
        module = self.layers[layer].get_submodule(self.architecture.mlp_norm)
        return norm_map(module, self.architecture.norm)

    @contextmanager
    def cut_after(self, layer: int) -> Iterator[None]:
        """Let the model end after a layer, for as long as the block runs."""
        path, _, name = self.architecture.layers.rpartition(".")
        parent, whole = self.model.get_submodule(path), self.layers
        setattr(parent, name, whole[: layer + 1])
        try:
            yield
        finally:
            setattr(parent, name, whole)
