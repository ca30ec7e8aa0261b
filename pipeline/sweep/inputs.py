"""What a sweep is given, opened and checked before any worker starts.

Everything that can be told without loading weights is told here, in the driver and in seconds: a missing
file or column, a model that does not exist or whose family is unknown, transcoders that do not fit. Local
safetensors are memory-mapped, so checking the shapes of a large dictionary reads only headers. What lies on
the hub is checked by the first worker: the driver need not download weights that it will not use.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from pipeline.demo import resolve
from pipeline.model.families import family_of
from pipeline.model.loading import fixed_prefix, load_config, split_revision
from pipeline.model.replacement_model import check_fit
from pipeline.model.tokens import ensure_tokenized, load_tokenizer
from pipeline.store import run_key
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.identity import Pinned, identity, pin_model, pin_transcoders
from pipeline.sweep.prompts import Prompts, open_prompts
from pipeline.sweep.shards import Tokenize
from pipeline.transcoders import load_transcoders


@dataclass(frozen=True)
class Inputs:
    """A sweep's inputs, ready to be worked on."""

    prompts: Prompts
    model: Pinned
    transcoders: Pinned
    tokenize: Tokenize
    """Prompt to token ids, as the engine does it."""

    identity: dict[str, Any]
    """Everything that changes a result."""

    run_key: int
    """Its hash."""


def open_inputs(config: SweepConfig) -> Inputs:
    """Open and check model, transcoders and prompts.

    Raises:
        ConfigurationError: the prompts cannot be read.
        ModelError: the model does not exist, or its family is not supported.
        TranscoderError: the transcoders do not exist, cannot be read, or do not fit the model.

    """
    prompts = open_prompts(config.prompts)
    model = pin_model(config.model)
    transcoders = pin_transcoders(config.transcoders)
    tokenize = _check_model(model, transcoders, config.trust_remote_code)
    run = identity(config, model, transcoders)
    return Inputs(prompts, model, transcoders, tokenize, run, run_key(run))


def _check_model(model: Pinned, transcoders: Pinned, trust_remote_code: bool) -> Tokenize:
    name = resolve(model.name, "model")
    config = load_config(name, trust_remote_code)
    family = family_of(config.model_type)
    if transcoders.folder is not None:
        check_fit(config, family, load_transcoders(str(transcoders.folder)))
    return partial(
        ensure_tokenized,
        load_tokenizer(*split_revision(name), trust_remote_code),
        vocabulary_size=config.vocab_size,
        context_length=getattr(config, "max_position_embeddings", None),
        fixed_prefix=fixed_prefix(name, config),
    )
