"""Load a Hugging Face causal language model, from a folder or the hub, safely.

Only safetensors weights are read (nothing is unpickled), and no code from a repository is run unless
asked for.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedTokenizerBase
from transformers.utils import logging

from pipeline.errors import ModelError
from pipeline.hub import local_path
from pipeline.model.families import Family, family_of
from pipeline.model.tokens import GEMMA3_CHAT_PREFIX, load_tokenizer, repository_of


def load_config(name: str, trust_remote_code: bool = False) -> PretrainedConfig:
    """Read a model's configuration without its weights.

    Raises:
        ModelError: the folder or repository does not exist or holds no readable configuration.

    """
    repository, revision = repository_of(name)
    try:
        return AutoConfig.from_pretrained(repository, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise _cannot_load(name, error) from error


def load(
    name: str, dtype: torch.dtype, trust_remote_code: bool = False
) -> tuple[nn.Module, PreTrainedTokenizerBase, Family]:
    """Load weights into the host's memory, tokenizer and family description.

    Raises:
        ModelError: the model cannot be loaded, or its family is not supported.

    """
    config = load_config(name, trust_remote_code)
    family = family_of(config.model_type)
    repository, revision = repository_of(name)
    logging.disable_progress_bar()  # a library prints nothing; commands show their own progress
    try:
        model = AutoModelForCausalLM.from_pretrained(
            repository,
            revision=revision,
            dtype=dtype,
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
        )
    except Exception as error:
        raise _cannot_load(name, error) from error
    tokenizer = load_tokenizer(name, trust_remote_code)
    return model.eval().requires_grad_(False), tokenizer, family


def fixed_prefix(name: str, config: PretrainedConfig) -> tuple[int, ...]:
    """Return the tokens every prompt must begin with: those of Gemma 3's instruction-tuned models."""
    named = Path(name.split("@")[0]).name.lower()
    is_chat = config.model_type.startswith("gemma3") and named.startswith("gemma-3") and named.endswith("-it")
    return GEMMA3_CHAT_PREFIX if is_chat else ()


def _cannot_load(name: str, error: Exception) -> ModelError:
    reason = str(error).strip().partition("\n")[0]
    hint = "check the name, or log in" if local_path(name) is None else "check the folder"
    return ModelError(f"model {name!r} could not be loaded ({type(error).__name__}: {reason}): {hint}.")
