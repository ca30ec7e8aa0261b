"""The identity of a run: all that changes a result, so that equal runs share work and others cannot mix."""

from __future__ import annotations

from typing import Any

from pipeline.hub import Pinned
from pipeline.sweep.config import AttributionConfig, SweepConfig
from pipeline.sweep.positions import GENERATED, LAST
from pipeline.version import ENGINE_VERSION


def identity(
    config: SweepConfig, model: Pinned, transcoders: Pinned, prefix: tuple[int, ...] = ()
) -> dict[str, Any]:
    """Return what a run's key is computed from, readable enough to show how two runs differ.

    Args:
        config: the sweep.
        model: its model.
        transcoders: their transcoders.
        prefix: tokens that every prompt of the model must begin with.

    """
    # A prompt's key is of the ids that are traced; the opening is here so that one output has one rule.
    opening = {} if config.prompts.opening is None else {"opening": config.prompts.opening}
    zero_positions = config.zero_positions or len(prefix) or 1
    # Also where one is asked for and the model has more; else it goes without saying.
    zeros = {"zero_positions": zero_positions} if prefix or zero_positions > 1 else {}
    return {
        "engine": ENGINE_VERSION,
        "model": model.fingerprint,
        "transcoders": transcoders.fingerprint,
        "dtype": config.dtype,
        "attribution": _rules(config.attribution),
        "pruning": config.pruning.model_dump(mode="json", exclude_none=True),
        **opening,
        **zeros,
    }


def _rules(config: AttributionConfig) -> dict[str, Any]:
    """Return the rules of attribution without those that have no effect beside the others."""
    rules = config.model_dump(mode="json")
    if not config.qk:
        del rules["qk"]
    if config.positions == LAST:
        del rules["positions"]
    if config.positions != GENERATED:
        del rules["generation"]
    if config.max_feature_nodes is None or config.tolerance is not None:
        # Batches are a cap's way of choosing; all features, or a tolerance's, are the same in any batches.
        del rules["batch_size"], rules["update_interval"]
    if config.targets.are_chosen:
        del rules["max_targets"], rules["target_probability"]
    if config.targets.of_each_prompt is not None:
        # What the column holds is part of each prompt's key; what it is called changes nothing.
        rules["targets"] = "of each prompt"
    return rules
