"""Quantised checkpoints: those that become ordinary weights while they are loaded, and those that do not.

The engine needs weights as matrices. FP8 and MXFP4 are numbers with a scale a block, and transformers
multiplies them out on any device; the result is what the quantised model computes with, but for the rounding
of its activations. Other kinds need kernels or libraries of their own, and their layers hold no matrix.
"""

from __future__ import annotations

from typing import Any

from transformers import FineGrainedFP8Config, Mxfp4Config, PretrainedConfig

from pipeline.errors import ModelError

EXPANSION = {"fp8": 2.0, "mxfp4": 3.75}
"""Bytes of 16-bit weights over those of the quantised ones, scales included."""


def quantisation(config: PretrainedConfig) -> str | None:
    """Return the kind of quantisation that a configuration names, or None."""
    found = _settings(config).get("quant_method")
    return None if found is None else str(getattr(found, "value", found))


def dequantising(config: PretrainedConfig) -> FineGrainedFP8Config | Mxfp4Config | None:
    """Return what makes transformers multiply a checkpoint out; None for one that is not quantised.

    Raises:
        ModelError: it is of a kind that cannot be.

    """
    method, settings = quantisation(config), _settings(config)
    if method is None:
        return None
    skipped = settings.get("modules_to_not_convert")
    if method == "fp8":
        block = settings.get("weight_block_size", (128, 128))
        return FineGrainedFP8Config(weight_block_size=block, modules_to_not_convert=skipped, dequantize=True)
    if method == "mxfp4":
        return Mxfp4Config(modules_to_not_convert=skipped, dequantize=True)
    raise ModelError(
        f"the checkpoint is quantised ({method}), and its layers hold no weight matrices that could be "
        f"traced: {' and '.join(EXPANSION)} are dequantised while they are loaded. Take the original "
        "weights, or save the model dequantised (`model.dequantize()`, then `save_pretrained`)."
    )


def _settings(config: PretrainedConfig) -> dict[str, Any]:
    found = getattr(config, "quantization_config", None) or {}
    return found if isinstance(found, dict) else found.to_dict()
