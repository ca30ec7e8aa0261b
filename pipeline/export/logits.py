"""The tokens that a feature promotes and suppresses by writing straight into the final residual stream.

Logits = W_U (centred, times the final norm's gain) times the sum of the feature's decoder rows. The norm's
scale is the same for all tokens, so it does not change their order; layers between are passed over, as in
every viewer's list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pipeline.features import FeatureName
    from pipeline.model import ReplacementModel

TOKENS_SHOWN = 10
"""Tokens at each end."""

FEATURES_AT_ONCE = 64
"""Features whose logits over the whole vocabulary are held at a time."""


def promoted_tokens(model: ReplacementModel, feature: FeatureName) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tokens that a feature promotes and suppresses most.

    Raises:
        ConfigurationError: the dictionary has no such feature.

    """
    widths = [layer.n_features for layer in model.transcoders.layers]
    if not 0 <= feature.layer < len(widths) or not 0 <= feature.feature < widths[feature.layer]:
        raise ConfigurationError(
            f"there is no feature {feature}: the dictionary has layers 0 to {len(widths) - 1}, with features "
            f"0 to {max(widths) - 1:,} at most."
        )
    document: dict[str, Any] = {"index": feature.feature}
    add_logits(model, feature.layer, [document])
    return tuple(document["top_logits"]), tuple(document["bottom_logits"])


def add_logits(model: ReplacementModel, layer: int, documents: Sequence[dict[str, Any]]) -> None:
    """Fill in the tokens at both ends for features of one layer."""
    names: dict[int, str] = {}
    for start in range(0, len(documents), FEATURES_AT_ONCE):
        block = documents[start : start + FEATURES_AT_ONCE]
        logits = _logits(model, layer, [document["index"] for document in block])
        for key, largest in (("top_logits", True), ("bottom_logits", False)):
            best = logits.topk(min(TOKENS_SHOWN, logits.shape[1]), largest=largest).indices.tolist()
            for document, tokens in zip(block, best, strict=True):
                document[key] = [_name(model, token, names) for token in tokens]


def _logits(model: ReplacementModel, layer: int, features: list[int]) -> Float[Tensor, "n V"]:
    index = torch.tensor(features, device=model.device)
    rows = model.written_below(layer, index, model.n_layers)
    norm = model.final_norm
    if norm.centred:
        # As the norm does before it scales.
        rows = rows - rows.mean(-1, keepdim=True)
    return torch.nn.functional.linear((rows * norm.weight).to(model.unembedding), model.unembedding)


def _name(model: ReplacementModel, token: int, names: dict[int, str]) -> str:
    from pipeline.model import token_text

    if token not in names:
        names[token] = token_text(model.tokenizer, token)
    return names[token]
