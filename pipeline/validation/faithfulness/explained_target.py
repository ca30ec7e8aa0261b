"""What a graph explains, rebuilt from its row in `graphs`: the quantity that its circuit is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import TargetError


@dataclass(frozen=True)
class ExplainedTarget:
    """One target of a stored graph."""

    kind: str
    """`token`, `difference` or `feature`."""

    weight: float
    """Weight beside the graph's other targets: a token's probability, or what the user gave."""

    tokens: Mapping[int, float]
    """Tokens whose logits are explained, each with its factor; empty for a feature."""

    cell: tuple[int, int, int] | None = None
    """(layer, position, feature) of a feature whose pre-activation is explained."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> ExplainedTarget:
        """Rebuild an entry of `graphs.targets`.

        Raises:
            TargetError: it is a direction, whose vector the tables do not hold.

        """
        kind, weight = row["kind"], row["weight"]
        if kind == "feature":
            return cls(kind, weight, {}, (row["layer"], row["position"], row["feature"]))
        if not row["token_ids"]:
            raise TargetError(
                f"target {row['label']!r} is a {kind}, whose vector is not in the tables: only graphs of "
                "tokens, differences and features can be validated."
            )
        return cls(kind, weight, dict(zip(row["token_ids"], row["token_weights"], strict=True)))
