"""A dictionary to train, as a typed, frozen configuration: what a user writes in `DICTIONARY.yaml`.

Only `model`, `features`, `k`, `text`, `tokens` and `output` have no default. Nothing heavy is imported here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from pipeline.configuration import ConfigurationFile, Count, Section, Share
from pipeline.credentials import without_credentials
from pipeline.runtime import WorkersConfig

Kind = Literal["plt", "skip", "clt", "sae"]

ActivationKind = Literal["batchtopk", "jumprelu", "topk", "relu"]

TRANSCODER_HOOKS = ("mlp.hook_in", "hook_resid_mid", "ln2.hook_normalized")
"""Points at which transcoders may read."""

AUTOENCODER_HOOKS = ("hook_mlp_out",)
"""Points that an autoencoder may read and write again."""


NOT_TRAINING = frozenset(
    {
        "output",
        "device",
        "evaluation",
        "dtype",
        "trust_remote_code",
        "tokens",
        "layers",
        "groups",
        "checkpoint_minutes",
        "workers",
        "micro_batch",
        "against",
        "finish",
        "stop_at_plateau",
    }
)
"""Keys that change no step that was made already: where things go, how long it goes on, what comes after."""


class TextConfig(Section):
    """The text that a dictionary is trained on."""

    source: str
    """Parquet, JSON lines, CSV or text file (globs and `s3://` allowed), or a Hugging Face dataset."""

    text: str | None = None
    """Column with the text or the messages (default: `text`, or the only column)."""

    chat: bool = False
    """Write conversations with the tokenizer's chat template."""

    split: str = "train"
    """Split of a Hugging Face dataset; files have only `train`."""

    held_out: float = 0.01
    """Share of documents that is never trained on, chosen by a hash of the document; the report is
    on these."""

    context: Count = 256
    """Most tokens of a sequence; longer documents are cut into several (default: 256, or the model's)."""

    opening: str | int | None = None
    """Token in front of every sequence: `tokenizer` for what the tokenizer itself puts there, `none`, or a
    token by its text or id (default: BOS, else pad, else EOS)."""

    label: str | None = None
    """Column with a class of each document: the report then says which classes have a feature."""

    @field_validator("source")
    @classmethod
    def _no_credentials(cls, value: str) -> str:
        return without_credentials("text.source", value)

    @field_validator("held_out")
    @classmethod
    def _some_of_each(cls, value: float) -> float:
        if not 0 < value < 1:
            raise ValueError(f"is {value}, but must lie between 0 and 1, such as 0.01")
        return value


class DictionaryConfig(Section):
    """A dictionary and how it is trained."""

    model: str
    """Folder or hub name of the model, as `run` takes it."""

    kind: Kind = "skip"
    """`plt`: transcoders of single layers; `skip`: the same with an affine path beside the features; `clt`:
    one cross-layer transcoder; `sae`: autoencoders, which `run` does not take."""

    features: Count
    """Features of each layer."""

    k: Count
    """Mean number of active features of a token and layer, at the end."""

    text: TextConfig
    """Text to train on."""

    tokens: Count
    """Tokens to train on; those at position 0, of padding and special ones do not count."""

    output: str
    """Folder or `s3://` URL of the dictionary."""

    start: str | None = None
    """Dictionary to start from, in any format that is read; best with few tokens."""

    against: str | None = None
    """Another dictionary of the same model, such as one of another seed, in any format that is read: the card
    says which share of features both have."""

    activation: ActivationKind = "batchtopk"
    """Activation in training. `batchtopk` and `jumprelu` end as JumpReLU; `topk` and `relu` are there to
    compare with."""

    cross_layer: Count | None = None
    """Layers above its own that a feature of a `clt` writes to (default: all)."""

    hook: str | None = None
    """Point that features read (default: `mlp.hook_in`; of an `sae` `hook_mlp_out`, which it also writes)."""

    layers: Count | None = None
    """Number of layers to train, from the first (default: all, which `run` needs)."""

    seed: NonNegativeInt = 0
    """Seed of first weights and of the order of the text."""

    batch: Count | None = None
    """Tokens of a step (default: 4,096; 8,192 from 64k features)."""

    micro_batch: Count | None = None
    """Tokens of a step that are worked on at once (default: all). It changes what is held in memory, and the
    last digits of sums; halved when memory is used up."""

    buffer: Count = 65_536
    """Tokens whose activations are shuffled together."""

    learning_rate: float | None = None
    """Highest learning rate (default: 2e-4 times the root of 16,384 / features; five times that below 2,000
    steps; 25 times, up to 0.02, below 500 of single layers by batchtopk; three tenths of it from a start)."""

    narrowing: Share = 0.5
    """Share of the training in which k falls from four times its value."""

    dead_after: Count | None = None
    """Tokens without an activation after which a feature counts as dead (default: 10M, or 2% of the training
    where that is less)."""

    decay: Share = 0.2
    """Share of the training, at its end, in which the learning rate falls to 0."""

    stop_at_plateau: bool = False
    """End a layer's training early, with the decay, when a tenth of the tokens has improved its held-out FVU
    by less than 0.5%; `tokens` is then the most that a layer gets."""

    finish: Count | None = None
    """Tokens on which all layers are trained together in the end, each MLP replaced, on the model's
    predictions as well (default: none). It may move features: the card has the report before it too."""

    auxiliary: float = 1 / 32
    """Weight of the loss that revives dead features."""

    evaluation: Count = 100_000
    """Most held-out tokens that thresholds and the report are measured on."""

    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Element type of the matrices in the files; thresholds and biases are float32."""

    model_dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision in which the model runs; the dictionary is trained in float32."""

    device: str | None = None
    """Device to train on (default: the GPU if there is one)."""

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings."""

    groups: Count | None = None
    """Groups that layers are cut into, each trained by a process of its own, when the training is first
    started (default: the fewest that fit the memory)."""

    shards: Count = 1
    """Processes that share the features of a `clt`, all on one machine."""

    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    """Pause between two checkpoints; a signal or a machine that is about to go makes one more."""

    workers: WorkersConfig = WorkersConfig()
    """Processes that train, and their resources."""

    @field_validator("output")
    @classmethod
    def _no_credentials(cls, value: str) -> str:
        return without_credentials("output", value)

    @field_validator("text", mode="before")
    @classmethod
    def _plain_source(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> DictionaryConfig:
        if self.k > self.features:
            raise ValueError(f"has k {self.k}, but only {self.features} features: lower k")
        if self.cross_layer is not None and self.kind != "clt":
            raise ValueError(f"sets cross_layer, but kind is {self.kind}: it is for clt alone")
        if self.shards > 1 and self.kind != "clt":
            raise ValueError(f"sets shards, but kind is {self.kind}, whose layers need no others: set groups")
        if self.groups is not None and self.kind == "clt":
            raise ValueError("sets groups, but kind is clt, whose layers need each other: set shards")
        if self.features % self.shards:
            raise ValueError(f"has features {self.features}, which {self.shards} shards cannot share evenly")
        if self.kind == "clt" and self.layers is not None:
            raise ValueError("sets layers, but kind is clt, whose features write to all layers above")
        if self.kind == "clt" and self.activation == "topk":
            raise ValueError("has activation topk, which is there for plt, skip and sae: take batchtopk")
        known = AUTOENCODER_HOOKS if self.kind == "sae" else TRANSCODER_HOOKS
        if self.hook is not None and self.hook not in known:
            raise ValueError(f"reads at hook {self.hook!r}, but kind {self.kind} reads at {', '.join(known)}")
        if self.n_steps < 1:
            raise ValueError(f"has {self.tokens} tokens, but a step takes {self.batch_size}: lower batch")
        return self

    @property
    def batch_size(self) -> int:
        """Tokens of a step, B."""
        return self.batch or (8192 if self.features >= 65_536 else 4096)

    @property
    def piece(self) -> int:
        """Tokens of a step that are worked on at once."""
        return min(self.micro_batch or self.batch_size, self.batch_size)

    @property
    def n_steps(self) -> int:
        """Optimiser steps."""
        return self.tokens // self.batch_size

    @property
    def reads(self) -> str:
        """Hook point that features read."""
        return self.hook or ("hook_mlp_out" if self.kind == "sae" else "mlp.hook_in")


DICTIONARY_FILE = ConfigurationFile(DictionaryConfig, "dictionary", {("text",): "source"})
