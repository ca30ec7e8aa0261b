"""The outcome of a hypothesis as rows of `hypothesis_groups` and `hypothesis_prompts`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.validation.hypotheses.testing import PromptOutcome
from pipeline.validation.hypotheses.verdicts import GroupVerdict, Mean
from schemas import HYPOTHESIS_TABLES


def group_rows(verdicts: Sequence[GroupVerdict]) -> pa.Table:
    """Return a row for each group and way of changing features: chosen ones, their doses, competitors."""
    rows: list[dict[str, Any]] = []
    for verdict in verdicts:
        names = ("prompts", "left_out", "clusters", "features", "value")
        about = {"prompt_group": verdict.group} | {name: getattr(verdict, name) for name in names}
        rows.append(
            {
                **about,
                "changed": "chosen",
                **_mean("effect", verdict.effect),
                "flipped": verdict.flipped,
                "moved": verdict.moved,
                "is_shown": verdict.is_shown,
            }
        )
        rows += [
            about | {"changed": "chosen", "dose": dose} | _mean("effect", effect)
            for dose, effect in verdict.doses.items()
        ]
        rows += [
            {
                **about,
                "changed": name,
                **_mean("effect", kind.effect),
                **_mean("more", kind.more),
                "size_ratio": kind.size_ratio,
                "p_value": kind.p_value,
                "q_value": verdict.q_value if name == "matched" else None,
                "flipped": kind.flipped,
                "moved": kind.moved,
            }
            for name, kind in verdict.kinds.items()
        ]
    return pa.Table.from_pylist(rows, schema=HYPOTHESIS_TABLES["hypothesis_groups"].schema)


def prompt_rows(outcomes: Sequence[PromptOutcome]) -> pa.Table:
    """Return a row for each prompt."""
    rows = [
        {
            "prompt_key": outcome.prompt.key,
            "id": outcome.prompt.id,
            "prompt_group": outcome.prompt.group,
            "cluster": outcome.prompt.cluster,
            "features": outcome.features,
            "answer": outcome.answer,
            "rival": outcome.rival,
            "value": outcome.value,
            "prediction": outcome.prediction,
            "chosen_prediction": int(outcome.predictions["chosen"][0]),
            "effect": float(outcome.effects["chosen"][0]),
            "doses": [{"dose": dose, "effect": effect} for dose, effect in outcome.doses.items()],
            "largest_effect": float(outcome.effects["largest"][0]),
            **{
                f"{kind}_effects": outcome.effects[kind].tolist() if kind in outcome.effects else None
                for kind in ("matched", "active", "random", "mixed")
            },
        }
        for outcome in outcomes
    ]
    return pa.Table.from_pylist(rows, schema=HYPOTHESIS_TABLES["hypothesis_prompts"].schema)


def _mean(prefix: str, mean: Mean) -> dict[str, float | None]:
    return {prefix: mean.value, f"{prefix}_low": mean.low, f"{prefix}_high": mean.high}
