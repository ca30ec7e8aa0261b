"""Sums over all prompts that many answers need: made once for a state, the first time one is asked for.

A state never changes, so neither do they. They are tables in its DuckDB, in a schema of their own, seen by
all connections; their sums are the same however often a page asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from pipeline.results import Results, explained

SCHEMA = "viewer"

QUERIES: Mapping[str, str] = {
    "kept_features": (
        "select layer, feature, count(distinct prompt_key) as prompts, sum(influence::double) as influence "
        "from nodes where kind = 'feature' group by layer, feature"
    ),
    "layers": (
        "select max(layer) as top, max(layer) filter (kind = 'logit' and feature is null) as of_logits "
        "from nodes"
    ),
    "token_texts": (
        "select id, min(token) as token from ("
        "select unnest(token_ids) as id, unnest(tokens) as token from graphs union all "
        "select t.token_ids[1], t.label from (select unnest(targets) as t from graphs) "
        "where t.kind = 'token') group by id"
    ),
    "token_prompts": (
        "select token, count(distinct prompt_key) as prompts from "
        "(select prompt_key, unnest(tokens) as token from graphs) group by token"
    ),
}


@dataclass
class Summaries:
    """The sums of one state."""

    _made: set[str] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def table(self, name: str, results: Results) -> str:
        """Return the name of a sum's table in SQL, once it is there; `results` makes it where it is not."""
        with self._lock:  # who comes meanwhile waits: it would ask the same
            if name not in self._made:
                with explained():
                    connection = results.connection()
                    connection.execute(f"create schema if not exists {SCHEMA}")
                    connection.execute(f"create table {SCHEMA}.{name} as {QUERIES[name]}")
                self._made.add(name)
        return f"{SCHEMA}.{name}"
