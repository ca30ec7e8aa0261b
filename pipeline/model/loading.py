"""Load a Hugging Face causal language model, from a folder or the Hub, safely.

Only safetensors weights are read (nothing is unpickled), and no code from a repository is run unless
asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from accelerate.hooks import remove_hook_from_submodules
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig
from transformers.utils import logging

from pipeline.errors import ModelError
from pipeline.hub import local_path
from pipeline.model.tokenization import GEMMA3_CHAT_PREFIX, repository_of


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


def without_weights(config: PretrainedConfig, dtype: torch.dtype, trust_remote_code: bool) -> nn.Module:
    """Return a model on the device `meta`: shapes and names without memory for weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=trust_remote_code)


def load_model(
    name: str,
    dtype: torch.dtype,
    devices: Mapping[str, torch.device],
    trust_remote_code: bool = False,
) -> nn.Module:
    """Load a model's weights, each tensor from its file straight to its device.

    Args:
        name: a folder, or a name on the Hub.
        dtype: precision to load them in.
        devices: the device of each module, by its name.
        trust_remote_code: run code that the model's repository brings.

    Raises:
        ModelError: the model cannot be loaded.

    """
    repository, revision = repository_of(name)
    logging.disable_progress_bar()  # a library prints nothing; commands show their own progress
    try:
        model = AutoModelForCausalLM.from_pretrained(
            repository,
            revision=revision,
            dtype=dtype,
            device_map=dict(devices),
            # The only attention that gives its patterns; the others never form them.
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
        )
    except torch.OutOfMemoryError:
        raise  # the caller knows what else the device holds
    except Exception as error:
        raise _cannot_load(name, error) from error
    # accelerate sends inputs on from inside `forward`: after hooks have recorded them on the device that they
    # leave, and not at all where an intervention replaces `forward`. `spread` has hooks that come first.
    remove_hook_from_submodules(model)
    return model.eval().requires_grad_(False)


def fixed_prefix(name: str, config: PretrainedConfig) -> tuple[int, ...]:
    """Return the tokens every prompt must begin with: those of Gemma 3's instruction-tuned models."""
    named = Path(name.split("@")[0]).name.lower()
    is_chat = config.model_type.startswith("gemma3") and named.startswith("gemma-3") and named.endswith("-it")
    return GEMMA3_CHAT_PREFIX if is_chat else ()


def _cannot_load(name: str, error: Exception) -> ModelError:
    reason = str(error).strip().partition("\n")[0]
    hint = "check the name, or log in" if local_path(name) is None else "check the folder"
    return ModelError(f"model {name!r} could not be loaded ({type(error).__name__}: {reason}): {hint}.")
