"""Names without a language model: what features are active on, and which targets they raise or lower.

Both are summed over the sampled prompts of the discovery half: activation by token at a node's role, and the
weights of direct edges by target.
"""

from __future__ import annotations

import pyarrow as pa

from pipeline.circuits.finding.mechanisms import summed_with
from pipeline.circuits.finding.sums import Part
from pipeline.circuits.roles import ROLES
from pipeline.token_labels import token_label

NAMED = 5
"""Tokens that a node is named by, the strongest."""

TOKENS = """
    select layer, feature, roles[position + 1] as role, tokens[position + 1] as token,
        sum(activation::double) as amount
    from rows join labels using (prompt_key) join texts using (prompt_key)
        join (select distinct layer, feature, role from chosen_nodes) as chosen using (layer, feature)
    where discovery and sampled and roles[position + 1] = chosen.role and activation > 0
    group by all
"""

TARGETS = """
    select source_layer as layer, source_feature as feature, roles[source_position + 1] as role,
        targets[target_index + 1] as token, sum(rows.weight::double) as amount
    from rows join labels using (prompt_key) join texts using (prompt_key)
        join (select distinct layer, feature, role from chosen_nodes) as chosen
            on layer = source_layer and feature = source_feature and role = roles[source_position + 1]
    where discovery and sampled and source_kind = 'feature' and target_kind = 'logit'
    group by all
"""

TARGET_COLUMNS = ["prompt_key", "source_kind", "source_layer", "source_position", "source_feature"]
TARGET_COLUMNS += ["target_kind", "target_index", "weight"]
TOKEN_COLUMNS = ["prompt_key", "layer", "position", "feature", "activation"]

Node = tuple[int, int, int]
"""Layer, feature, number of the role."""


def read_tokens(part: Part, labels: pa.Table, texts: pa.Table, chosen: pa.Table) -> pa.Table:
    """Return the summed activation of chosen nodes by token, of one part of `activations`."""
    others = {"texts": texts, "chosen_nodes": chosen}
    return summed_with(part.read(TOKEN_COLUMNS), labels, others, TOKENS)


def read_targets(part: Part, labels: pa.Table, texts: pa.Table, chosen: pa.Table) -> pa.Table:
    """Return the summed weight of their direct edges by target, of one part of `edges`."""
    others = {"texts": texts, "chosen_nodes": chosen}
    return summed_with(part.read(TARGET_COLUMNS), labels, others, TARGETS)


def by_node(sums: list[pa.Table]) -> dict[Node, dict[str, float]]:
    """Add up the sums of all parts: amount by token of each node."""
    found: dict[Node, dict[str, float]] = {}
    for row in pa.concat_tables(sums).to_pylist():
        amounts = found.setdefault((row["layer"], row["feature"], row["role"]), {})
        amounts[row["token"]] = amounts.get(row["token"], 0.0) + row["amount"]
    return found


def strongest(amounts: dict[str, float], sign: int = 1) -> list[str]:
    """Return the tokens of the largest amounts of a sign."""
    of_sign = {token: sign * amount for token, amount in amounts.items() if sign * amount > 0}
    return sorted(of_sign, key=lambda token: (-of_sign[token], token))[:NAMED]


def supernode_name(
    members: list[Node], tokens: dict[Node, dict[str, float]], targets: dict[Node, dict[str, float]]
) -> str:
    """Name a supernode: `Dallas Waco (subject) -> Austin`."""
    on, to = (_added([amounts.get(node, {}) for node in members]) for amounts in (tokens, targets))
    name = f"{_listed(strongest(on)[:3]) or '?'} ({ROLES[members[0][2]]})"
    raised, lowered = strongest(to)[:3], strongest(to, -1)[:3]
    if raised and sum(to.values()) >= 0:
        return f"{name} -> {_listed(raised)}"
    return f"{name} -| {_listed(lowered)}" if lowered else name


def _added(parts: list[dict[str, float]]) -> dict[str, float]:
    return {
        token: sum(part.get(token, 0.0) for part in parts) for token in {t for part in parts for t in part}
    }


def _listed(tokens: list[str]) -> str:
    return " ".join(token_label(token) for token in tokens)
