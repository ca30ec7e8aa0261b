"""A Hugging Face causal language model whose MLPs transcoders can stand in for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from pipeline.errors import TranscoderError
from pipeline.hub import Neurons
from pipeline.model import loading, tokenization
from pipeline.model.architectures import Architecture, architecture_of
from pipeline.model.frozen import FrozenModel, freeze
from pipeline.model.hooks import check_hooks
from pipeline.model.layout import device_map, device_of_layers, spread
from pipeline.model.linear import LayerMap, NormMap, layer_maps, norm_map
from pipeline.model.neurons import neuron_transcoders
from pipeline.model.tokenization import Opening
from pipeline.model.unnormed import add_missing_norms
from pipeline.transcoders import Transcoders, load_transcoders

Device = torch.device | str
"""A device or its name, such as `cuda:1`."""


@dataclass(frozen=True)
class ReplacementModel:
    """A model, its tokenizer and its transcoders, ready to be frozen on a prompt."""

    name: str
    """Folder or hub name the model came from."""

    model: nn.Module
    """The Hugging Face model, in evaluation mode with eager attention."""

    tokenizer: PreTrainedTokenizerBase

    architecture: Architecture
    """Module names and norms of the model's architecture."""

    transcoders: Transcoders
    """Transcoders, each layer on the device of the model's."""

    maps: tuple[LayerMap, ...]
    """The linear maps of each layer."""

    final_norm: NormMap
    """The norm in front of the unembedding."""

    zero_positions: int = 1
    """First positions that carry no features and no errors."""

    fixed_prefix: tuple[int, ...] = ()
    """Tokens that every prompt must begin with."""

    opening: Opening = None
    """Token in front of prompts that begin with no special one: see `from_pretrained`."""

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        transcoders: str,
        device: Device | Sequence[Device] | None = None,
        dtype: torch.dtype = torch.float32,
        trust_remote_code: bool = False,
        lazy_encoder: bool = False,
        listed_commits: Mapping[str, str] | None = None,
        opening: Opening = None,
        zero_positions: int | None = None,
    ) -> ReplacementModel:
        """Load a model and its transcoders.

        Args:
            name: a folder, or a name on the Hub as `org/name[@revision]`.
            transcoders: a folder, a name on the Hub as `org/name[/folder][@revision]`, or `neurons` for the
                model's own (`neurons:64` for the 64 of a layer and position that write most).
            device: device to load to; by default the GPU if there is one. Over several, the layers are laid
                out in order, each with its transcoders.
            dtype: precision of weights and of everything computed with them.
            trust_remote_code: run code that a model's repository brings; off unless asked for.
            lazy_encoder: leave encoders in their files too, as decoders always are: slower, for
                transcoders that do not fit the device.
            listed_commits: commits at which transcoders that list files of other repositories read them
                (`Pinned.listed_commits`); by default each at the revision that is listed.
            opening: token in front of prompts that begin with no special one: `tokenizer` for what the
                tokenizer itself puts there, `none`, or a token by its text or id; by default BOS, else pad,
                else EOS.
            zero_positions: first positions that carry no features; by default those of the tokens that
                every prompt of the model begins with: see `tokenization.fixed_prefix`.

        Raises:
            ConfigurationError: the opening is no token of this model.
            ModelError: the model cannot be loaded, or its architecture is not supported.
            TranscoderError: the transcoders cannot be read, or do not fit the model.

        """
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        devices = [torch.device(each) for each in ([device] if isinstance(device, Device) else device)]
        whole = loading.whole_config(name, trust_remote_code)
        config = loading.traced_part(whole)
        architecture = architecture_of(config)
        tokenizer = tokenization.load_tokenizer(name, trust_remote_code)
        neurons, loaded = Neurons.named(transcoders), None
        if neurons is None:
            loaded = load_transcoders(transcoders, lazy_encoder, listed_commits)
            check_fit(config, architecture, loaded)  # before weights are fetched and read
        # Sizes are known before there are weights, so that each tensor goes straight to its device.
        empty = loading.without_weights(whole, dtype, trust_remote_code)
        sizes = loading.language_model(empty)
        layer_devices = device_of_layers(sizes, architecture, loaded, devices)
        placed = device_map(empty, sizes.get_submodule(architecture.layers), devices[0], layer_devices)
        model = loading.language_model(loading.load_model(name, whole, dtype, placed, trust_remote_code))
        add_missing_norms(model, architecture)
        loaded = loaded or neuron_transcoders(model, architecture, neurons)
        return cls.assemble(name, model, tokenizer, architecture, loaded, devices, opening, zero_positions)

    @classmethod
    def assemble(
        cls,
        name: str,
        model: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        architecture: Architecture,
        transcoders: Transcoders,
        devices: Sequence[torch.device] = (),
        opening: Opening = None,
        zero_positions: int | None = None,
    ) -> ReplacementModel:
        """Join a loaded model and transcoders, checking that they fit.

        Layers are laid out over the devices; without any, all stay where the model is.

        Raises:
            ConfigurationError: the opening is no token of this model.
            TranscoderError: layers, width or hook points differ.

        """
        check_fit(model.config, architecture, transcoders)
        tokenization.opening_tokens(tokenizer, opening, model.config.vocab_size)
        weights = next(model.parameters())
        devices = devices or [weights.device]
        layers = model.get_submodule(architecture.layers)
        layer_devices = device_of_layers(model, architecture, transcoders, devices)
        spread(model, architecture, devices[0], layer_devices)
        add_missing_norms(model, architecture)
        n_heads = model.config.num_attention_heads
        prefix = tokenization.fixed_prefix(model.config, tokenizer) if zero_positions is None else ()
        return cls(
            name=name,
            model=model,
            tokenizer=tokenizer,
            architecture=architecture,
            transcoders=transcoders.over(layer_devices, weights.dtype),
            maps=layer_maps(layers, architecture, n_heads),
            final_norm=norm_map(model.get_submodule(architecture.final_norm), architecture.norm),
            # Opening tokens are attention sinks, whose activations are huge and say nothing of the prompt.
            zero_positions=zero_positions or len(prefix) or 1,
            fixed_prefix=prefix,
            opening=opening,
        )

    def __repr__(self) -> str:
        return (
            f"ReplacementModel({self.name!r}, {self.architecture.name}, {self.n_layers} layers of width "
            f"{self.d_model}, transcoders {self.transcoders.name!r}, on {self.device})"
        )

    @property
    def device(self) -> torch.device:
        """The model's home: where prompts come in and graphs are put together."""
        return next(self.model.parameters()).device

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """All devices that hold a part of it, home first."""
        return tuple(
            dict.fromkeys((self.device, *(each.encoder_bias.device for each in self.transcoders.layers)))
        )

    @property
    def n_layers(self) -> int:
        """Layers of the model, L."""
        return len(self.maps)

    @property
    def d_model(self) -> int:
        """Width of the residual stream, d."""
        return self.model.config.hidden_size

    @property
    def vocabulary_size(self) -> int:
        """Rows of the unembedding, V."""
        return self.unembedding.shape[0]

    @property
    def context_length(self) -> int | None:
        """Most tokens that a prompt may have."""
        return getattr(self.model.config, "max_position_embeddings", None)

    @property
    def unembedding(self) -> Float[Tensor, "V d"]:
        """Rows that turn the final norm's output into logits."""
        return self.model.get_output_embeddings().weight.detach()

    def written_below(self, layer: int, features: Int[Tensor, " n"], upper: int) -> Float[Tensor, "n d"]:
        """Return what features of a layer write for an activation of 1, as it enters a layer above.

        Attention and MLPs in between are passed over.

        Args:
            layer: the features' layer.
            features: their indices.
            upper: a layer above; the number of layers stands for the final norm.

        """
        dictionary = self.transcoders.layers[layer]
        written = dictionary.decoder_rows(features, 0)
        for write in range(1, upper - layer):
            written = written * self.maps[layer + write - 1].scalar
            if write < dictionary.decoder.shape[1]:
                written = written + dictionary.decoder_rows(features, write)
        return written * self.maps[upper - 1].scalar

    def ensure_tokenized(self, prompt: str | Sequence[int] | Tensor) -> Int[Tensor, " T"]:
        """Return the token ids to trace, opened by a special token.

        Raises:
            PromptError: see `pipeline.model.tokenization.tokens.ensure_tokenized`.

        """
        ids = tokenization.ensure_tokenized(
            self.tokenizer,
            prompt,
            self.vocabulary_size,
            self.context_length,
            self.fixed_prefix,
            self.opening,
            self.zero_positions,
        )
        return torch.tensor(ids, dtype=torch.long, device=self.device)

    def freeze(self, input_tokens: Int[Tensor, " T"]) -> FrozenModel:
        """Run the model on a prompt and hold patterns, norms and errors where it put them.

        Raises:
            PromptError: the model gives something that is not a number on this prompt.

        """
        return freeze(
            self.model,
            self.architecture,
            input_tokens,
            self.maps,
            self.final_norm,
            self.transcoders,
            self.zero_positions,
        )


def check_fit(config: object, architecture: Architecture, transcoders: Transcoders) -> None:
    """Refuse transcoders that were made for another model.

    Raises:
        TranscoderError: naming what differs.

    """
    if transcoders.d_model != config.hidden_size:
        raise TranscoderError(
            f"transcoders {transcoders.name!r} have d_model {transcoders.d_model}, the model has "
            f"{config.hidden_size}: is this set for another model?"
        )
    if transcoders.n_layers != config.num_hidden_layers:
        fewer = transcoders.n_layers < config.num_hidden_layers
        raise TranscoderError(
            f"transcoders {transcoders.name!r} have {transcoders.n_layers} layers, the model has "
            f"{config.num_hidden_layers}: is this set for another model, or is a file "
            f"{'missing' if fewer else 'too many'}?"
        )
    check_hooks(architecture, transcoders.input_hook, transcoders.output_hook)
