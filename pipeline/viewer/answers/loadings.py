"""`/api/loadings/KEY`: which attention heads carry a prompt's strongest edges, and where they look."""

from __future__ import annotations

from typing import Any

from pipeline.viewer.answers.graph import find_prompt
from pipeline.viewer.asked import Asked

LOADINGS = """
with named as (
    select *, case source_kind
        when 'feature' then concat(source_layer, '/', source_feature, '@', source_position)
        when 'error' then concat('e', source_layer, '@', source_position)
        else concat('t', source_position) end as source,
    case target_kind
        when 'feature' then concat(target_layer, '/', target_feature, '@', target_position)
        else concat('y', target_index) end as target
    from head_loadings where prompt_key = {key}
)
select source, target, path::varchar as path, head_layer, head, key_position, loading, share
from named order by source, target, abs(loading) desc, path, head_layer, head, key_position
"""


def loadings(asked: Asked) -> dict[str, Any]:
    """Return the paths of each edge that was split, by the edge's name (`1/484@8>y0`), the largest first."""
    prompt = find_prompt(asked, asked.question.path["key"])
    edges: dict[str, list[dict[str, Any]]] = {}
    if asked.has("head_loadings"):
        for row in asked.rows(LOADINGS.format(key=prompt["prompt_key"])):
            edges.setdefault(f"{row.pop('source')}>{row.pop('target')}", []).append(row)
    return {"edges": edges}
