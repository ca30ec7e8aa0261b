"""What is active in two sweeps on the prompts that they share, and the match of their features by it."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from pipeline.compare.contexts import Contexts, contexts_of, prompts_of
from pipeline.compare.matching import Match, Observations, match_features
from pipeline.compare.sweep_pair import SweepPair
from pipeline.errors import CircuitSweepError

log = logging.getLogger(__name__)

MAX_PROMPTS = 2000
"""Shared prompts that a match is made on, the first by key: a hash, so any are as good as others."""


def match_sweeps(pair: SweepPair, min_correlation: float, run_model: bool) -> Match:
    """Match the features of two sweeps with different dictionaries.

    Args:
        pair: the sweeps.
        min_correlation: least correlation of a match.
        run_model: run B's model with random dictionaries, and compare the decoders if both have one model.

    """
    tokens = {side: _token_ids(pair, side) for side in "ab"}
    contexts = contexts_of(tokens["b"]) if pair.aligned else prompts_of(tokens["b"])
    observed = Observations(_active(pair, "a", contexts), _active(pair, "b", contexts), contexts.stratum)
    if not run_model:
        return match_features(observed, min_correlation)
    from pipeline.compare.controls import random_dictionaries, with_decoder_cosines

    try:
        random = random_dictionaries(pair.b, observed.b, tokens["b"], contexts.numbers)
    except CircuitSweepError as error:
        log.warning("no random dictionary was matched, since B's model cannot be run: %s", error)
        return match_features(observed, min_correlation)
    match = match_features(observed, min_correlation, random)
    if not pair.same_model:
        return match
    try:
        return replace(match, rows=with_decoder_cosines(match.rows, pair.a, pair.b))
    except CircuitSweepError as error:
        log.warning("no decoders were compared, since the dictionaries cannot be loaded: %s", error)
        return match


def _token_ids(pair: SweepPair, side: str) -> list[list[int]]:
    """Return the token ids of the shared prompts, in the order of their numbers."""
    return pair.sql(
        f"select g.token_ids from {side}_graphs g join prompts on g.prompt_key = prompts.{side}_key "
        "where prompts.prompt <= $most order by prompts.prompt",
        most=MAX_PROMPTS,
    )["token_ids"].to_pylist()


def _active(pair: SweepPair, side: str, contexts: Contexts) -> pa.Table:
    """Return one side's active features: rows (layer, feature, observation, x)."""
    rows = pair.sql(
        f"select r.layer, r.feature, prompt, r.position, r.activation::double as x "
        f"from {side}_activations r join prompts on r.prompt_key = {side}_key where prompt <= $most",
        most=MAX_PROMPTS,
    )
    observation = _numbers(contexts, rows["prompt"].to_numpy() - 1, rows["position"].to_numpy(), pair.aligned)
    rows = rows.append_column("observation", pa.array(observation))
    return rows.filter(pa.array(observation >= 0)).select(["layer", "feature", "observation", "x"])


def _numbers(
    contexts: Contexts,
    prompt: Int[np.ndarray, " rows"],
    position: Int[np.ndarray, " rows"],
    aligned: bool,
) -> Int[np.ndarray, " rows"]:
    """Return the observation of each row: the context at its position, or the prompt."""
    if not aligned:
        return prompt
    starts = np.cumsum([0, *(len(numbers) for numbers in contexts.numbers)])
    return np.concatenate(contexts.numbers)[starts[prompt] + position]
