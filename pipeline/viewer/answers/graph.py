"""`/api/graph/KEY`: one prompt's graph, packed, with all that is known of the prompt in its header.

Nodes come in the graph's order (features, errors, tokens, targets), edges by falling score. `cumulative` of
an edge is the running share of all edges' score, those left out included, so a slider cuts by binary search.
"""

from __future__ import annotations

from http import HTTPStatus
from shlex import quote
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int, UInt

from pipeline.results import is_correct, why_missing
from pipeline.token_labels import printable_token
from pipeline.viewer.asked import Asked
from pipeline.viewer.packed import Packed
from pipeline.viewer.questions import RefusedError
from schemas import NODE_COLUMNS

EDGES, MOST_EDGES = 20_000, 200_000

KINDS = {"feature": 0, "error": 1, "token": 2, "logit": 3}
"""Numbers of the kinds of nodes on the wire."""

SCORES = (
    "replacement_score",
    "completeness_score",
    "pruned_replacement_score",
    "pruned_completeness_score",
    "unexpanded_influence",
    "dropped_share",
    "entropy",
)

COUNTS = ("positions", "active_features", "selected_features", "graph_nodes", "kept_nodes", "kept_edges")

VERDICT = (
    "is_at_stake",
    "stake",
    "necessity",
    "necessity_null",
    "necessity_rank",
    "sufficiency",
    "sufficiency_null",
    "sufficiency_rank",
    "replacement_necessity",
    "replacement_sufficiency",
    "draws",
    "circuit_features",
    "ablations",
    "spearman",
    "spearman_write_norm",
    "spearman_late_write_norm",
    "spearman_direct_edge",
    "spearman_gradient",
    "knock_on_spearman",
)

NODES = """
select *,
    row_number() over (order by kind_number, layer, position, feature, token_id, target_index) - 1 as index
from (
    select kind, layer, position, feature, token_id, target_index, activation, influence,
           cumulative_influence, total_input, error_norm, stability,
           case kind when 'feature' then 0 when 'error' then 1 when 'token' then 2 else 3 end as kind_number
    from nodes where prompt_key = {key}
)
"""

EDGES_OF_GRAPH = """
with numbered as ({nodes})
select s.index::uinteger as source, t.index::uinteger as target, e.weight, e.influence as score, e.stability
from edges e join numbered s on {source} join numbered t on {target}
where e.prompt_key = {key}
order by score desc, source, target limit {limit}
"""

SAME_SOURCE = " and ".join(
    ["s.target_index is null", *(f"s.{name} is not distinct from e.source_{name}" for name in NODE_COLUMNS)]
)
SAME_TARGET = " and ".join(
    ["t.target_index is not distinct from e.target_index"]
    + [f"t.{name} is not distinct from e.target_{name}" for name in NODE_COLUMNS]
)


def graph(asked: Asked) -> Packed:
    """Return one graph."""
    prompt = find_prompt(asked, asked.question.path["key"])
    key, limit = prompt["prompt_key"], asked.question.number("edges", EDGES, 0, MOST_EDGES)
    nodes = asked.table(NODES.format(key=key) + " order by index")
    edges, whole = _edges(asked, key, limit)
    sent = float(edges["score"].astype(np.float64).sum())
    matched, arrays = _matched(asked, nodes)
    header = {
        **described(asked, prompt),
        **matched,
        "counts": {name: prompt[name] for name in COUNTS}
        | {"edges_sent": len(edges["source"]), "score": whole, "score_sent": sent},
        "kinds": list(KINDS),
    }
    return Packed(header, {**_node_arrays(nodes), **arrays, **edges})


def _matched(asked: Asked, nodes: pa.Table) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the counterparts of features in the sweep beside this one, where the dictionaries differ.

    `match_layer` and `match_feature` are -1 where there are none; `matches` counts the graph's features.
    """
    matches, side = asked.viewer.matches, asked.question.choice("of", "", ("", "here", "other"))
    if matches is None or not side:
        return {}, {}
    is_feature = nodes["kind"].cast(pa.string()).to_numpy(zero_copy_only=False) == "feature"
    found = np.full((len(is_feature), 2), -1)
    own = [_whole(nodes, name)[is_feature] for name in ("layer", "feature")]
    found[is_feature] = matches.of(*own, is_there=side == "other")
    influence = nodes["influence"].to_numpy().astype(np.float64)
    has_match = found[:, 0] >= 0
    counted = {
        "features": int(is_feature.sum()),
        "matched": int(has_match.sum()),
        "influence": float(influence[is_feature].sum()),
        "matched_influence": float(influence[has_match].sum()),
        "folder": matches.folder,
    }
    arrays = {"match_layer": found[:, 0].astype(np.int32), "match_feature": found[:, 1].astype(np.int32)}
    return {"matches": counted}, arrays


def find_prompt(asked: Asked, name: str) -> dict[str, Any]:
    """Return the row of `graphs` of a prompt, by its id or its key.

    Raises:
        RefusedError: no graph has this name; it says what became of the prompt.

    """
    rows = asked.rows("select * from graphs where id = $name order by prompt_key limit 1", {"name": name})
    if not rows and name.removeprefix("-").isdecimal() and len(name) <= 20:
        rows = asked.rows(f"select * from graphs where prompt_key = {int(name)}")
    if rows:
        return rows[0]
    if not asked.state.graphs:
        run = f"circuit-sweep status {quote(asked.viewer.url)}"
        raise RefusedError(
            "there is no graph yet.", f"`{run}` says how far the sweep is.", HTTPStatus.NOT_FOUND
        )
    raise RefusedError(why_missing(asked.results, name), status=HTTPStatus.NOT_FOUND, **_fate(asked, name))


def _fate(asked: Asked, name: str) -> dict[str, Any]:
    """Return the stage at which a prompt failed, if it did."""
    if not asked.has("failures"):
        return {}
    rows = asked.rows("select stage, message from failures where id = $name limit 1", {"name": name})
    return {"failed": rows[0]} if rows else {}


def _edges(
    asked: Asked, key: int, limit: int
) -> tuple[dict[str, Float[np.ndarray, " edges"] | UInt[np.ndarray, " edges"]], float]:
    """Return the strongest edges as arrays, and the score of all."""
    numbered = NODES.format(key=key)
    rows = asked.table(
        EDGES_OF_GRAPH.format(nodes=numbered, source=SAME_SOURCE, target=SAME_TARGET, key=key, limit=limit)
    )
    whole = asked.row(f"select coalesce(sum(influence::double), 0) as s from edges where prompt_key = {key}")[
        "s"
    ]
    arrays = {name: rows[name].to_numpy() for name in ("source", "target", "weight", "score")}
    running = np.cumsum(arrays["score"].astype(np.float64)) / (whole or 1.0)
    stability = rows["stability"].to_numpy()
    found = {name: arrays[name].astype(np.uint32) for name in ("source", "target")}
    found |= {name: arrays[name].astype(np.float32) for name in ("weight", "score")}
    return found | {
        "edge_stability": stability.astype(np.float32),
        "edge_cumulative": running.astype(np.float32),
    }, whole


def _node_arrays(nodes: pa.Table) -> dict[str, np.ndarray]:
    kinds = nodes["kind_number"].to_numpy().astype(np.uint8)
    number = np.where(
        kinds == KINDS["logit"],
        _whole(nodes, "target_index"),
        np.maximum(_whole(nodes, "feature"), _token(nodes)),
    )
    floats = {
        "activation": "activation",
        "influence": "influence",
        "cumulative": "cumulative_influence",
        "total_input": "total_input",
        "error_norm": "error_norm",
        "stability": "stability",
    }
    return {
        "kind": kinds,
        "layer": _whole(nodes, "layer").astype(np.int32),
        "position": _whole(nodes, "position").astype(np.uint32),
        "feature": np.maximum(number, 0).astype(np.uint32),
        **{
            name: nodes[column].cast(pa.float32()).to_numpy(zero_copy_only=False).astype(np.float32)
            for name, column in floats.items()
        },
    }


def _whole(nodes: pa.Table, column: str) -> Int[np.ndarray, " nodes"]:
    return nodes[column].cast(pa.int64()).fill_null(-1).to_numpy()


def _token(nodes: pa.Table) -> Int[np.ndarray, " nodes"]:
    """Token ids of tokens; targets are named by their index."""
    return _whole(nodes, "token_id")


def described(asked: Asked, prompt: dict[str, Any]) -> dict[str, Any]:
    """Return all that is known of a prompt beside its graph."""
    return {
        "prompt": {
            "key": str(prompt["prompt_key"]),
            "id": prompt["id"],
            "text": prompt["text"],
            "tokens": [printable_token(token) for token in prompt["tokens"]],
            "token_ids": prompt["token_ids"],
            "opening": prompt["opening"],
            "columns": {name: prompt[name] for name in asked.extra_columns},
            "created": prompt["created"],
        },
        "targets": [{**target, "label": printable_token(target["label"])} for target in prompt["targets"]],
        "prediction": {
            "token": printable_token(prompt["prediction"]),
            "token_id": prompt["prediction_id"],
            "probability": prompt["prediction_probability"],
            "correct": _correct(asked, prompt["prompt_key"]),
            "answer": prompt.get("answer"),
        },
        "scores": {name: prompt[name] for name in SCORES},
        "verdict": _verdict(asked, prompt["prompt_key"]),
        "layers": layer_count(asked),
        "supernodes": _supernodes(asked, prompt["prompt_key"]),
        "effects": _effects(asked, prompt["prompt_key"]),
    }


def _correct(asked: Asked, key: int) -> bool | None:
    schema = asked.results.snapshot.schemas["graphs"]
    if "answer" not in schema.names:
        return None
    return asked.row(
        f"select {is_correct(schema.field('answer'))} as c from graphs g where prompt_key = {key}"
    )["c"]


def _verdict(asked: Asked, key: int) -> dict[str, Any] | None:
    if not asked.has("faithfulness", "verdicts"):
        return None
    rows = asked.rows(
        f"select v.verdict, v.necessity_q, {', '.join(f'f.{name}' for name in VERDICT)} "
        f"from faithfulness f join verdicts v using (prompt_key) where prompt_key = {key}"
    )
    return rows[0] if rows else None


def layer_count(asked: Asked) -> int:
    """Number of the model's layers: targets stand there, unless all explain features."""
    found = asked.row(f"select top, of_logits from {asked.summary('layers')}")
    return found["of_logits"] if found["of_logits"] is not None else (found["top"] or 0) + 1


def _supernodes(asked: Asked, key: int) -> list[dict[str, Any]]:
    """Return the mined supernode of each feature of the graph that has one."""
    if not asked.has("supernodes"):
        return []
    return asked.rows(
        "select layer, feature, supernode, members, similarity, stability from supernodes "
        "where members > 1 and (layer, feature) in "
        f"(select (layer, feature) from nodes where kind = 'feature' and prompt_key = {key}) "
        "order by supernode, layer, feature"
    )


def _effects(asked: Asked, key: int) -> list[dict[str, Any]]:
    """Return the measured effect of ablating each feature that the validation ablated, in the live model."""
    if not asked.has("validations"):
        return []
    return asked.rows(
        "select layer, position, feature, effect, divergence from validations where test = 'node_ablation' "
        f"and mode <> 'replacement' and prompt_key = {key} order by layer, position, feature"
    )
