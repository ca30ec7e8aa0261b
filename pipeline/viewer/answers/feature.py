"""`/api/feature/L/F`, its `/edges`, and `/api/features`: what features are over the whole sweep.

All figures are over the sweep's prompts. Activations are of every position where the feature is active, kept
by pruning or not; influence and edges are of the graphs that keep it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pipeline.store import feature_labels
from pipeline.token_labels import printable_token
from pipeline.viewer.asked import Asked, listed, literal
from pipeline.viewer.questions import RefusedError

BINS = 40

TOP_EXAMPLES, BAND_EXAMPLES = 10, 5
"""Prompts of a page of examples: the strongest, and of each third below them."""

BANDS = ("strongest", "upper third", "middle third", "lower third")

PROFILE = 30
"""Positions from the end that are told apart; the last counts all before."""

SHOWN = 50
"""Prompts, ends of edges and neighbours that are listed."""

FEATURES = 200
"""Features of the list."""

STATISTICS = """
select count(*) as positions, count(distinct prompt_key) as prompts, min(activation) as least,
       max(activation) as most, avg(activation::double) as mean, median(activation) as median
from activations where {here}
"""

COUNTS = """
select least({bins} - 1, floor((activation - {least}) / greatest({most} - {least}, 1e-30) * {bins}))::int
           as bin, least(position_from_end, {profile} - 1) as distance, count(*) as n
from activations where {here} group by grouping sets ((bin), (distance))
"""

EXAMPLES = """
with peaks as (
    select prompt_key, max(activation) as peak, arg_max(position, activation) as position
    from activations where {here} group by prompt_key
),
active as (
    select prompt_key, list(position) as active_at, list(activation) as activations
    from activations where {here} group by prompt_key
),
ranked as (select *, row_number() over (order by peak desc, prompt_key) as rank from peaks),
banded as (
    select *, case when rank <= {top} then 0 else ntile(3) over (partition by rank <= {top} order by rank) end
        as band
    from ranked
),
spread as (
    select *, row_number() over (partition by band order by rank) - 1 as nth,
           count(*) over (partition by band) as size
    from banded
)
select band, rank, spread.prompt_key, id, tokens, position, peak, active_at, activations
from spread join graphs using (prompt_key) join active using (prompt_key)
where band = 0 or nth % greatest(1, (size + {few} - 1) // {few}) = 0
order by rank
"""

ENDS = """
with collapsed as (
    select prompt_key, {end}_kind as kind, {end}_layer as layer, {end}_feature as feature,
           {end}_token_id as token_id, sum(weight::double) as weight, sum(influence::double) as influence
    from edges where {other}_kind = 'feature' and {other}_layer = {layer} and {other}_feature = {feature}
    group by all
)
select kind, layer, feature, token_id, count(*) as support, avg(weight) as mean_weight,
       sum(influence) as score, greatest(count(*) filter (weight > 0), count(*) filter (weight < 0)) /
       count(*) as sign_consistency from collapsed group by kind, layer, feature, token_id order by score
       desc, kind, layer, feature, token_id limit {shown}
"""


def feature(asked: Asked) -> dict[str, Any]:
    """Return all that the tables know of one feature."""
    layer, number = asked.question.feature()
    here = f"layer = {layer} and feature = {number}"
    stats = asked.row(STATISTICS.format(here=here)) if asked.has("activations") else {"positions": 0}
    prompts, kept = _prompts(asked, here)
    if not stats["positions"] and not kept["prompts_kept"]:
        raise RefusedError(
            f"feature {layer}/{number} is active on no prompt of this sweep.", status=HTTPStatus.NOT_FOUND
        )
    return {
        "layer": layer,
        "feature": number,
        "stats": {**stats, **kept},
        **_counts(asked, here, stats),
        **_examples(asked, here, stats),
        "ties": _ties(asked, here),
        "supernodes": _supernodes(asked, here),
        "prompts": prompts,
        "neighbours": _neighbours(asked, layer, number),
    }


def _counts(asked: Asked, here: str, stats: dict[str, Any]) -> dict[str, Any]:
    """Return the histogram of activations, and the profile of their distances from the end."""
    if not asked.has("activations"):
        return {"histogram": None, "profile": None}
    bins, distances = [0] * BINS, [0] * PROFILE
    if stats["positions"]:
        least, most = (f"{stats[name]!r}::double" for name in ("least", "most"))
        given = {"bins": BINS, "profile": PROFILE, "least": least, "most": most, "here": here}
        for row in asked.rows(COUNTS.format(**given)):
            if row["bin"] is None:
                distances[row["distance"]] = row["n"]
            else:
                bins[row["bin"]] = row["n"]
    while len(distances) > 1 and not distances[-1]:
        distances.pop()
    histogram = {"counts": bins, "from": stats["least"], "to": stats["most"]}
    return {
        "histogram": histogram if stats["positions"] else None,
        "profile": {"counts": distances, "last_counts_all_before": len(distances) == PROFILE},
    }


def _examples(asked: Asked, here: str, stats: dict[str, Any]) -> dict[str, Any]:
    """Return prompts by how strongly they have the feature, with its activation on every token."""
    if not stats["positions"]:
        return {"examples": [], "has_more": False}
    page = asked.question.number("more", 1, 1, 20)
    rows = asked.rows(EXAMPLES.format(here=here, top=page * TOP_EXAMPLES, few=page * BAND_EXAMPLES))
    layer, number = asked.question.feature()
    bands: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        active = dict(zip(row["active_at"], row["activations"], strict=True))
        example = {
            "prompt_key": str(row["prompt_key"]),
            "id": row["id"],
            "tokens": [printable_token(token) for token in row["tokens"]],
            "activations": [active.get(position, 0.0) for position in range(len(row["tokens"]))],
            "position": row["position"],
            "activation": row["peak"],
            "node": f"{layer}/{number}@{row['position']}",
        }
        bands.setdefault(row["band"], []).append(example)
    examples = [{"band": BANDS[band], "examples": bands[band]} for band in sorted(bands)]
    return {"examples": examples, "has_more": len(rows) < stats["prompts"] and page < 20}


def _ties(asked: Asked, here: str) -> list[dict[str, Any]]:
    """Return the groups of prompts that have the feature beyond chance, as `aggregate` found."""
    if not asked.has("feature_enrichment"):
        return []
    rows = asked.rows(
        f"select prompt_group, clusters_with, clusters, rate, rate_outside, log2_odds, q_value, token_share, "
        f"grouped_by from feature_enrichment where {here} order by q_value, prompt_group limit {SHOWN}"
    )
    return [
        {
            "group": row.pop("prompt_group"),
            "column": row["grouped_by"],
            "support": row["clusters_with"],
            **row,
        }
        for row in rows
    ]


def _supernodes(asked: Asked, here: str) -> list[dict[str, Any]]:
    if not asked.has("supernodes"):
        return []
    found = asked.rows(
        f"select supernode, members, similarity, stability from supernodes where {here} and members > 1"
    )
    for one in found:
        one["features"] = [
            f"{row['layer']}/{row['feature']}"
            for row in asked.rows(
                f"select layer, feature from supernodes where supernode = {one['supernode']} "
                f"order by similarity desc, layer, feature limit {SHOWN}"
            )
        ]
    return found


def _prompts(asked: Asked, here: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the prompts whose graph keeps the feature, by its influence there, and their number and sum."""
    rows = asked.rows(
        "select prompt_key, id, sum(influence::double) as influence, "
        "arg_max(position, influence) as position, count(*) as positions, "
        "count(*) over () as prompts_kept, sum(sum(influence::double)) over () as whole "
        f"from nodes where kind = 'feature' and {here} group by prompt_key, id "
        f"order by influence desc, id limit {SHOWN}"
    )
    kept = {
        "prompts_kept": rows[0]["prompts_kept"] if rows else 0,
        "influence": rows[0]["whole"] if rows else 0.0,
    }
    names = ("id", "influence", "position", "positions")
    shown = [{"prompt_key": str(row["prompt_key"])} | {name: row[name] for name in names} for row in rows]
    return shown, kept


def _neighbours(asked: Asked, layer: int, number: int) -> list[dict[str, Any]]:
    """Return the features that act at the same positions, as `aggregate --of pairs` found."""
    if not asked.has("feature_pairs"):
        return []
    columns = "npmi, jaccard, n_coactive, virtual_weight, twera"
    sides = (("source", "target"), ("target", "source"))
    both = " union all ".join(
        f"select {other}_layer as layer, {other}_feature as feature, '{other}' as side, {columns} "
        f"from feature_pairs where {mine}_layer = {layer} and {mine}_feature = {number}"
        for mine, other in sides
    )
    return asked.rows(f"select * from ({both}) order by npmi desc, layer, feature limit {SHOWN}")


def feature_edges(asked: Asked) -> dict[str, Any]:
    """Return the strongest other ends of a feature's edges over all prompts, positions collapsed."""
    layer, number = asked.question.feature()
    end = asked.question.choice("end", "source", ("source", "target"))
    other = "target" if end == "source" else "source"
    rows = asked.rows(ENDS.format(end=end, other=other, layer=layer, feature=number, shown=SHOWN))
    texts = token_texts(asked, [row["token_id"] for row in rows if row["token_id"] is not None])
    return {"end": end, "rows": [row | {"token": texts.get(row["token_id"])} for row in rows]}


def token_texts(asked: Asked, token_ids: list[int]) -> dict[int, str]:
    """Return the texts of tokens of prompts or targets, by their ids, as the graphs have them."""
    if not token_ids:
        return {}
    rows = asked.rows(
        f"select id, token from {asked.summary('token_texts')} where id in {listed(sorted({*token_ids}))}"
    )
    return {row["id"]: printable_token(row["token"]) for row in rows}


def features(asked: Asked) -> dict[str, Any]:
    """Return features by influence, prompts or label: those whose number or label fits, or `among` some."""
    question = asked.question
    order = question.choice("sort", "influence", ("influence", "support", "label"))
    column = {"influence": "influence desc", "support": "prompts desc", "label": "label nulls last"}[order]
    text = question.text("q").strip()
    where = (
        "contains(concat(layer, '/', feature), $text) or contains(lower(label), lower($text))"
        if text
        else "true"
    )
    if among := question.texts("among"):
        where = f"({where}) and concat(layer, '/', feature) in ({', '.join(map(literal, among))})"
    labels = _labels(asked)
    rows = asked.rows(
        f"select layer, feature, prompts, influence, label, {_group(asked)} as group "
        f"from {asked.summary('kept_features')} kept "
        f"left join {labels} on member = concat(layer, '/', feature) "
        f"where {where} order by {column}, influence desc, layer, feature limit {FEATURES}",
        {"text": text} if text else None,
    )
    return {"rows": rows}


def _group(asked: Asked) -> str:
    """SQL of the group of prompts that a feature is tied to most."""
    if not asked.has("feature_enrichment"):
        return "null::varchar"
    return (
        "(select arg_min(prompt_group, q_value) from feature_enrichment e "
        "where e.layer = kept.layer and e.feature = kept.feature and log2_odds > 0)"
    )


def _labels(asked: Asked) -> str:
    """SQL of the labels of features, one each."""
    labels = feature_labels(asked.viewer.notes())
    rows = ", ".join(f"({literal(member)}, {literal(str(label))})" for member, label in labels.items())
    return f"(select * from (values {rows or '(null, null)'}) as t(member, label))"
