"""Load a Hugging Face causal language model, from a folder or the Hub, safely.

Only safetensors weights are read (nothing is unpickled), and no code from a repository is run unless
asked for. A checkpoint is whole or refused: transformers would fill a tensor that is missing, or of another
size, with random numbers, other ones in each process, and leave out what its configuration does not name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.hooks import remove_hook_from_submodules
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PretrainedConfig
from transformers.utils.logging import disable_progress_bar

from pipeline.errors import ModelError
from pipeline.hub import local_path
from pipeline.model.quantisation import dequantising, quantisation
from pipeline.model.tokenization import repository_of

log = logging.getLogger(__name__)

HARMLESS = re.compile(
    r"(^|\.)(attn|attention)\.(masked_)?bias$|(^|\.)rotary_emb\.(inv_freq|cos_cached|sin_cached)$|(^|\.)position_ids$"
)
"""Buffers that older versions of transformers saved and newer ones compute."""

SHOWN = 6
"""Most tensors that a message names."""


def load_config(name: str, trust_remote_code: bool = False) -> PretrainedConfig:
    """Read a model's configuration without its weights: where it wraps a language model, that one's.

    Raises:
        ModelError: see `whole_config`.

    """
    return traced_part(whole_config(name, trust_remote_code))


def traced_part(config: PretrainedConfig) -> PretrainedConfig:
    """Return the configuration of the language model in one that also sees or hears."""
    text = getattr(config, "text_config", None)
    return text if isinstance(text, PretrainedConfig) else config


def whole_config(name: str, trust_remote_code: bool = False) -> PretrainedConfig:
    """Read a model's configuration as it stands.

    Raises:
        ModelError: the folder or repository does not exist, holds no readable configuration, or weights that
            are quantised in a way that cannot be undone.

    """
    repository, revision = repository_of(name)
    try:
        config = AutoConfig.from_pretrained(
            repository, revision=revision, trust_remote_code=trust_remote_code
        )
    except Exception as error:
        raise _cannot_load(name, error) from error
    dequantising(config)  # refuses what could not be loaded, before weights are fetched
    return config


def without_weights(config: PretrainedConfig, dtype: torch.dtype, trust_remote_code: bool) -> nn.Module:
    """Return a model on the device `meta`: shapes and names without memory for weights."""
    with torch.device("meta"):
        return _loader(config).from_config(config, dtype=dtype, trust_remote_code=trust_remote_code)


def _loader(config: PretrainedConfig) -> type[AutoModelForCausalLM] | type[AutoModelForImageTextToText]:
    """Return the class that loads a model; some that wrap a language model have no causal one."""
    wraps = traced_part(config) is not config and type(config) not in AutoModelForCausalLM._model_mapping
    return AutoModelForImageTextToText if wraps else AutoModelForCausalLM


def language_model(model: nn.Module) -> nn.Module:
    """Return the causal language model in a model that also sees or hears; of others the model itself.

    It has the same modules, and so the same weights on the same devices.

    Raises:
        ModelError: the model's language model is not where transformers says such are.

    """
    config = traced_part(model.config)
    if config is model.config:
        return model
    decoder = model.get_decoder()
    if getattr(decoder, "config", None) is None or decoder.config.model_type != config.model_type:
        raise ModelError(
            f"model of type {model.config.model_type!r} wraps one of type {config.model_type!r}, but holds "
            f"it in no way that is known here: save that part as a model of its own."
        )
    with torch.device("meta"):
        causal = AutoModelForCausalLM.from_config(decoder.config)
    # Of the two configurations the outer one says if the head is the embedding.
    causal.config = decoder.config
    causal.config.tie_word_embeddings = model.config.tie_word_embeddings
    setattr(causal, causal.base_model_prefix, decoder)
    causal.set_output_embeddings(model.get_output_embeddings())
    causal.generation_config = model.generation_config
    return causal


def load_model(
    name: str,
    config: PretrainedConfig,
    dtype: torch.dtype,
    devices: Mapping[str, torch.device],
    trust_remote_code: bool = False,
) -> nn.Module:
    """Load a model's weights, each tensor from its file straight to its device.

    Args:
        name: a folder, or a name on the Hub.
        config: the model's configuration, whole.
        dtype: precision to load them in.
        devices: the device of each module, by its name.
        trust_remote_code: run code that the model's repository brings.

    Raises:
        ModelError: the model cannot be loaded, or its files and its configuration do not belong together.

    """
    repository, revision = repository_of(name)
    quantised = dequantising(config)
    if quantised is not None:
        log.warning("model %s is quantised (%s): dequantised to %s", name, quantisation(config), dtype)
    disable_progress_bar()  # a library prints nothing; commands show their own progress
    try:
        with _without_report():
            model, found = _loader(config).from_pretrained(
                repository,
                revision=revision,
                dtype=dtype,
                device_map=dict(devices),
                # The only attention that gives its patterns; the others never form them.
                attn_implementation="eager",
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                **({} if quantised is None else {"quantization_config": quantised}),
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused here, with their names
            )
    except torch.OutOfMemoryError:
        raise  # the caller knows what else the device holds
    except Exception as error:
        raise _cannot_load(name, error) from error
    check_whole(name, found)
    # accelerate sends inputs on from inside `forward`: after hooks have recorded them on the device that they
    # leave, and not at all where an intervention replaces `forward`. `spread` has hooks that come first.
    remove_hook_from_submodules(model)
    return model.to(dtype).eval().requires_grad_(False)  # what was dequantised may be bfloat16


def check_whole(name: str, found: Mapping[str, Any]) -> None:
    """Refuse a checkpoint whose files and configuration do not have the same tensors.

    Args:
        name: the model's, for the message.
        found: what transformers says of the load (`output_loading_info`).

    Raises:
        ModelError: naming the tensors.

    """
    mismatched = [
        f"{key} is {tuple(stored)} in the file and {tuple(wanted)} by the configuration"
        for key, stored, wanted in sorted(found["mismatched_keys"])
    ]
    unexpected = (key for key in found["unexpected_keys"] if not HARMLESS.search(key))
    wrong = {
        "has tensors of other sizes than its config.json says": mismatched,
        "lacks tensors, which would be random numbers": sorted(found["missing_keys"]),
        "holds tensors that its config.json has no use for": sorted(unexpected),
        "could not be read": list(found.get("error_msgs") or ()),
    }
    said = [f"{problem}: {_some(names)}" for problem, names in wrong.items() if names]
    if said:
        raise ModelError(
            f"checkpoint of model {name!r} {'; it '.join(said)}. Fetch the files again, or save the model "
            "anew with its own configuration (save_pretrained)."
        )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


@contextmanager
def _without_report() -> Iterator[None]:
    """Keep back the table of tensors that transformers logs: `check_whole` says what matters of it."""

    def keep(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def _cannot_load(name: str, error: Exception) -> ModelError:
    reason = str(error).strip().partition("\n")[0]
    hint = "check the name, or log in" if local_path(name) is None else "check the folder"
    return ModelError(f"model {name!r} could not be loaded ({type(error).__name__}: {reason}): {hint}.")
