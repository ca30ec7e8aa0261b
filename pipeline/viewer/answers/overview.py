"""`/api/overview`: the sweep at a glance: families, failures, nights, features, and what to look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.viewer.answers.prompts import shown
from pipeline.viewer.asked import Asked, quoted

BINS = 20

MEASURES = ("replacement_score", "completeness_score", "necessity", "sufficiency")
"""Columns of which each family gets a histogram over 0 to 1 and a median."""

SHOWN = 20
"""Features, families with histograms, and prompts to look at."""

MESSAGES = 3
"""Messages that are shown of each stage at which prompts failed."""

HIGH = 0.9
"""Completeness from which a graph claims to explain its answer."""


def overview(asked: Asked) -> dict[str, Any]:
    """Return what the first page shows."""
    family = asked.family()
    return {
        "counts": _counts(asked),
        "group": family,
        "families": list(_families(asked, family)),
        "failures": _failures(asked),
        "nights": _nights(asked),
        "features": _features(asked),
        "look_at": _look_at(asked),
    }


def _counts(asked: Asked) -> dict[str, Any]:
    found = asked.row(
        "select count(*) as graphs, coalesce(sum(kept_nodes), 0)::bigint as nodes, "
        "coalesce(sum(kept_edges), 0)::bigint as edges from graphs"
    )
    features = asked.row(f"select count(*) as features from {asked.summary('kept_features')}")
    failed = asked.results.dataset("failures").count_rows() if asked.has("failures") else 0
    return {**found, **features, "failures": failed, "bytes": asked.state.data_bytes}


def _families(asked: Asked, family: str | None) -> Iterator[dict[str, Any]]:
    """Yield each family with medians and histograms, largest first; one of all where nothing groups them."""
    name = f"coalesce({quoted(family)}::varchar, '')" if family else "'all'"
    columns = ", ".join(
        f"median({measure}) as {measure}_median, count({measure}) as {measure}_n, "
        f"count(*) filter ({measure} < 0) as {measure}_below, "
        f"count(*) filter ({measure} > 1) as {measure}_above, "
        f"histogram(least({BINS - 1}, floor({measure} * {BINS}))::int) filter ({measure} between 0 and 1) "
        f"as {measure}_bins"
        for measure in MEASURES
    )
    rows = asked.rows(
        f"select {name} as family, count(*) as n, count(*) filter (correct) as correct, "
        f"count(correct) as judged, count(*) filter (verdict = 'necessary') as necessary, "
        f"count(*) filter (verdict in ('necessary', 'not necessary')) as at_stake, {columns} "
        f"from {shown(asked)} shown group by family order by n desc, family limit {10 * SHOWN}"
    )
    for row in rows:
        plain = ("family", "n", "correct", "judged", "necessary", "at_stake")
        yield {name: row[name] for name in plain} | {
            measure: _histogram(row, measure) for measure in MEASURES
        }


def _histogram(row: dict[str, Any], measure: str) -> dict[str, Any]:
    counted = dict(row[f"{measure}_bins"] or ())
    return {
        "median": row[f"{measure}_median"],
        "n": row[f"{measure}_n"],
        "below": row[f"{measure}_below"],
        "above": row[f"{measure}_above"],
        "bins": [counted.get(number, 0) for number in range(BINS)],
    }


def _failures(asked: Asked) -> list[dict[str, Any]]:
    if not asked.has("failures"):
        return []
    return asked.rows(
        "select stage, count(*) as n, list(message order by id)[:" + str(MESSAGES) + "] as messages, "
        "list(id order by id)[:"
        + str(MESSAGES)
        + "] as ids from failures group by stage order by n desc, stage"
    )


def _nights(asked: Asked) -> list[dict[str, Any]]:
    """Return each published version with the graphs that were traced since the one before."""
    versions = asked.results.versions()
    created = asked.table("select epoch_us(created) as microseconds from graphs order by 1")[
        "microseconds"
    ].to_numpy()
    found, before = [], 0
    for number, written in versions.items():
        upto = int(np.searchsorted(created, int(written.timestamp() * 1e6), side="right"))
        found.append({"version": number, "written": written, "new_graphs": upto - before})
        before = upto
    return found


def _features(asked: Asked) -> list[dict[str, Any]]:
    return asked.rows(
        f"select layer, feature, prompts, influence from {asked.summary('kept_features')} "
        f"order by influence desc, layer, feature limit {SHOWN}"
    )


def _look_at(asked: Asked) -> list[dict[str, Any]]:
    """Return prompts worth a look, each with the reason: three kinds, the worst of each first."""
    columns = (
        "prompt_key, id, text, completeness_score, necessity, necessity_rank, draws, unexpanded_influence"
    )
    source = f"from {shown(asked)} shown"
    reasons = {
        "complete, but its circuit is not necessary": (
            f"completeness_score >= {HIGH} and verdict = 'not necessary'",
            "completeness_score desc",
        ),
        "wrong answer": ("not correct", "prediction_probability desc"),
        "influence left unexpanded": ("unexpanded_influence > 0.1", "unexpanded_influence desc"),
    }
    found = []
    for reason, (condition, order) in reasons.items():
        rows = asked.rows(
            f"select {columns}, prediction, prediction_probability {source} where {condition} "
            f"order by {order}, id limit {SHOWN}"
        )
        found += [row | {"prompt_key": str(row["prompt_key"]), "reason": reason} for row in rows]
    return found
