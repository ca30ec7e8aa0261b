"""`/api/feature/L/F`, its `/edges`, and `/api/features`: what features are over the whole sweep.

All figures are over the sweep's prompts. Activations are of every position where the feature is active, kept
by pruning or not; influence and edges are of the graphs that keep it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

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

HISTOGRAM = """
select least({bins} - 1, floor((activation - {least}) / greatest({most} - {least}, 1e-30) * {bins}))::int
           as bin, count(*) as n
from activations where {here} group by bin
"""

EXAMPLES = """
with peaks as (
    select prompt_key, max(activation) as peak, arg_max(position, activation) as position
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
select band, rank, spread.prompt_key, id, tokens, position, peak
from spread join graphs using (prompt_key)
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
    kept = _kept(asked, here)
    if not stats["positions"] and not kept["prompts_kept"]:
        raise RefusedError(
            f"feature {layer}/{number} is active on no prompt of this sweep.", status=HTTPStatus.NOT_FOUND
        )
    return {
        "layer": layer,
        "feature": number,
        "stats": {**stats, **kept},
        "histogram": _histogram(asked, here, stats),
        "profile": _profile(asked, here),
        **_examples(asked, here),
        "ties": _ties(asked, here),
        "supernodes": _supernodes(asked, here),
        "prompts": _prompts(asked, here),
        "neighbours": _neighbours(asked, layer, number),
    }


def _kept(asked: Asked, here: str) -> dict[str, Any]:
    return asked.row(
        "select count(distinct prompt_key) as prompts_kept, coalesce(sum(influence::double), 0) as influence "
        f"from nodes where kind = 'feature' and {here}"
    )


def _histogram(asked: Asked, here: str, stats: dict[str, Any]) -> dict[str, Any] | None:
    if not stats["positions"]:
        return None
    least, most = (f"{stats[name]!r}::double" for name in ("least", "most"))
    counts = [0] * BINS
    for row in asked.rows(HISTOGRAM.format(bins=BINS, least=least, most=most, here=here)):
        counts[row["bin"]] = row["n"]
    return {"counts": counts, "from": stats["least"], "to": stats["most"]}


def _profile(asked: Asked, here: str) -> dict[str, Any] | None:
    if not asked.has("activations"):
        return None
    counts = [0] * PROFILE
    for row in asked.rows(
        f"select least(position_from_end, {PROFILE - 1}) as distance, count(*) as n from activations "
        f"where {here} group by distance"
    ):
        counts[row["distance"]] = row["n"]
    while len(counts) > 1 and not counts[-1]:
        counts.pop()
    return {"counts": counts, "last_counts_all_before": len(counts) == PROFILE}


def _examples(asked: Asked, here: str) -> dict[str, Any]:
    """Return prompts by how strongly they have the feature, with its activation on every token."""
    if not asked.has("activations"):
        return {"examples": [], "has_more": False}
    page = asked.question.number("more", 1, 1, 20)
    rows = asked.rows(EXAMPLES.format(here=here, top=page * TOP_EXAMPLES, few=page * BAND_EXAMPLES))
    layer, number = asked.question.feature()
    acts: dict[int, dict[int, float]] = {}
    for row in asked.rows(
        f"select prompt_key, position, activation from activations where {here} "
        f"and prompt_key in {listed([row['prompt_key'] for row in rows])}"
    ):
        acts.setdefault(row["prompt_key"], {})[row["position"]] = row["activation"]
    bands: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        example = {
            "prompt_key": str(row["prompt_key"]),
            "id": row["id"],
            "tokens": [printable_token(token) for token in row["tokens"]],
            "activations": [acts[row["prompt_key"]].get(p, 0.0) for p in range(len(row["tokens"]))],
            "position": row["position"],
            "activation": row["peak"],
            "node": f"{layer}/{number}@{row['position']}",
        }
        bands.setdefault(row["band"], []).append(example)
    shown = sum(map(len, bands.values()))
    total = asked.row(f"select count(distinct prompt_key) as n from activations where {here}")["n"]
    examples = [{"band": BANDS[band], "examples": bands[band]} for band in sorted(bands)]
    return {"examples": examples, "has_more": shown < total and page < 20}


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


def _prompts(asked: Asked, here: str) -> list[dict[str, Any]]:
    """Return the prompts whose graph keeps the feature, by its influence there."""
    rows = asked.rows(
        "select prompt_key, id, sum(influence::double) as influence, "
        f"arg_max(position, influence) as position, count(*) as positions from nodes "
        f"where kind = 'feature' and {here} group by prompt_key, id "
        f"order by influence desc, id limit {SHOWN}"
    )
    return [row | {"prompt_key": str(row["prompt_key"])} for row in rows]


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
    wanted = listed(sorted({*token_ids}))
    rows = asked.rows(
        "select id, min(token) as token from ("
        "select unnest(token_ids) as id, unnest(tokens) as token from graphs union all "
        "select t.token_ids[1], t.label from (select unnest(targets) as t from graphs) "
        f"where t.kind = 'token') where id in {wanted} group by id"
    )
    return {row["id"]: printable_token(row["token"]) for row in rows}


def features(asked: Asked) -> dict[str, Any]:
    """Return features by influence, prompts or label, those whose number or label fits."""
    question = asked.question
    order = question.choice("sort", "influence", ("influence", "support", "label"))
    column = {"influence": "influence desc", "support": "prompts desc", "label": "label nulls last"}[order]
    text = question.text("q").strip()
    where = (
        "contains(concat(layer, '/', feature), $text) or contains(lower(label), lower($text))"
        if text
        else "true"
    )
    labels = _labels(asked)
    rows = asked.rows(
        "with kept as (select layer, feature, count(distinct prompt_key) as prompts, "
        "sum(influence::double) as influence from nodes where kind = 'feature' group by layer, feature) "
        f"select layer, feature, prompts, influence, label, {_group(asked)} as group "
        f"from kept left join {labels} on member = concat(layer, '/', feature) "
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
    """SQL of the labels of features, as people wrote them last."""
    newest = {
        member: note.text
        for note in asked.viewer.notes().values()
        if note.kind == "label"
        for member in note.members
    }
    rows = ", ".join(f"({literal(member)}, {literal(text)})" for member, text in newest.items())
    return f"(select * from (values {rows or '(null, null)'}) as t(member, label))"
