"""A stored graph traced again, whole: the tables hold what pruning kept, and some questions need the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigurationError
from pipeline.store import Output
from pipeline.sweep_model import recorded_model

if TYPE_CHECKING:
    from pipeline.attribution import Difference, FeatureTarget
    from pipeline.graph import AttributionGraph
    from pipeline.model import ReplacementModel


def retrace(
    output: Output,
    prompt: Mapping[str, Any],
    trust_remote_code: bool = False,
    model: ReplacementModel | None = None,
) -> AttributionGraph:
    """Trace a prompt of a sweep again, with the sweep's model, options and targets.

    Args:
        output: of the sweep.
        prompt: the prompt's row of `graphs`.
        trust_remote_code: run code that the model's repository brings, if the sweep did.
        model: the sweep's model, where it is loaded already.

    Raises:
        ConfigurationError: a target is a direction, which the tables do not hold, or the model is not the
            sweep's any more.
        ModelError, TranscoderError: they cannot be loaded.

    """
    from pipeline.attribution import AttributionOptions, attribute
    from pipeline.model import TracedTokens

    targets = [_target(target) for target in prompt["targets"]]
    recorded = output.claimed().run["attribution"]
    # The stored tokens end at the position that was explained, and the targets were chosen.
    options = {name: recorded[name] for name in AttributionOptions.model_fields if name in recorded}
    model = model or recorded_model(output, trust_remote_code).load()
    tokens = TracedTokens(prompt["token_ids"])
    return attribute(model, tokens, targets, AttributionOptions(**options | {"position": -1}))


def _target(target: dict[str, Any]) -> int | Difference | FeatureTarget:
    from pipeline.attribution import Difference, FeatureTarget

    match target["kind"]:
        case "token":
            return target["token_ids"][0]
        case "difference":
            return Difference(*target["token_ids"], weight=target["weight"])
        case "feature":
            return FeatureTarget(target["layer"], target["position"], target["feature"], target["weight"])
    raise ConfigurationError(
        f"target {target['label']!r} is a direction, whose vector no table holds: attribute the prompt again "
        "in Python."
    )
