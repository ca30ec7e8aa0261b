"""A feature as a page: where it is active, in which groups of prompts, and the tokens that it promotes."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from pipeline.aggregates import Grouping, read_groups
from pipeline.errors import ConfigurationError
from pipeline.features import FeatureName
from pipeline.results import Results
from pipeline.sweep_model import recorded_model

COUNTS = """
    select count(distinct prompt_key), count(*), min(activation), max(activation)
    from activations where layer = {layer} and feature = {feature}
"""

EXAMPLES = """
    with peaks as (
        select prompt_key, max(activation) as activation, arg_max(position, activation) as position
        from activations where layer = {layer} and feature = {feature} group by all
    )
    select id, text, tokens, peaks.position, peaks.activation, prediction
    from peaks join graphs using (prompt_key)
    order by activation desc, id limit {count}
"""

ACTIVE = "select distinct prompt_key from activations where layer = {layer} and feature = {feature}"


@dataclass(frozen=True)
class GroupShare:
    """How many prompts of a group a feature is active on."""

    group: str
    active: int
    prompts: int


@dataclass(frozen=True)
class FeaturePage:
    """Everything on a feature's page; figures are over the sweep's prompts."""

    feature: FeatureName

    prompts: int
    """Prompts that it is active on."""

    all_prompts: int

    tokens: int
    """Tokens that it is active on."""

    all_tokens: int

    lowest: float
    """Lowest activation."""

    highest: float
    """Highest activation."""

    examples: pa.Table
    """`id`, `text`, `tokens`, `position` and `activation` of the strongest token, `prediction`; a row a
    prompt, the strongest first."""

    promotes: tuple[str, ...]
    """Tokens whose logits it raises most, writing straight into the final residual stream."""

    suppresses: tuple[str, ...]
    """Tokens whose logits it lowers most."""

    groups: tuple[GroupShare, ...]
    """Groups of prompts, those with the largest share first."""


def feature_page(
    results: Results,
    feature: FeatureName,
    examples: int = 10,
    by: str | None = None,
    trust_remote_code: bool = False,
) -> FeaturePage:
    """Read a feature's page; the model is loaded for the tokens that it promotes.

    Args:
        results: a sweep.
        feature: its name.
        examples: most prompts to give.
        by: column of `graphs`, or SQL over them, that groups prompts.
        trust_remote_code: run code that the model's repository brings, if the sweep did.

    Raises:
        ConfigurationError: the feature is active on no prompt, `by` is no column, or the model is another one
            now.
        ModelError, TranscoderError: the model cannot be loaded.

    """
    name = {"layer": feature.layer, "feature": feature.feature}
    prompts, tokens, lowest, highest = results.sql(COUNTS.format(**name)).fetchall()[0]
    all_prompts, all_tokens = results.sql("select count(*), sum(positions) from graphs").fetchall()[0]
    if not prompts:
        raise ConfigurationError(
            f"feature {feature} is active on none of the {all_prompts:,} prompts of {results.url}: "
            "`select layer, feature, count(*) from activations group by all` lists those that are."
        )
    from pipeline.export.logits import promoted_tokens

    promotes, suppresses = promoted_tokens(recorded_model(results.output, trust_remote_code).load(), feature)
    return FeaturePage(
        feature=feature,
        prompts=prompts,
        all_prompts=all_prompts,
        tokens=tokens,
        all_tokens=all_tokens,
        lowest=lowest,
        highest=highest,
        examples=results.sql(EXAMPLES.format(**name, count=examples)).to_arrow_table(),
        promotes=promotes,
        suppresses=suppresses,
        groups=() if by is None else _groups(results, name, by),
    )


def _groups(results: Results, name: dict[str, int], by: str) -> tuple[GroupShare, ...]:
    active = {key for (key,) in results.sql(ACTIVE.format(**name)).fetchall()}
    rows = read_groups(results.snapshot, Grouping(by=by)).rows
    counts: dict[str, list[int]] = {}
    for key, group in zip(rows["prompt_key"].to_pylist(), rows["prompt_group"].to_pylist(), strict=True):
        found = counts.setdefault(group, [0, 0])
        found[0] += key in active
        found[1] += 1
    shares = (GroupShare(group, *found) for group, found in counts.items())
    return tuple(sorted(shares, key=lambda share: (-share.active / share.prompts, share.group)))
