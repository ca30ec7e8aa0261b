"""The hypothesis as a user asks it: two or three queries over a sweep's tables.

- features: rows with `layer` and `feature`; with `prompt_key` (or `id`) they are meant on that prompt alone,
  with `position` (from the end if negative) at that position alone. Else wherever they are active.
- prompts: rows with `prompt_key` or `id`; a `prompt_group`, a `cluster` whose prompts count as one
  observation, and texts of tokens: an `answer`, and a `partner`, the answer whose logit is subtracted from
  it.
- put in: rows as of features, with a `value` that each is set to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from pipeline.errors import ConfigurationError
from pipeline.results import Results
from pipeline.validation.faithfulness import ExplainedTarget

ALL = "all"

PROMPTS = """
    select asked.*, graphs.prompt_key as key, graphs.id as name, graphs.token_ids, graphs.positions,
    graphs.targets, graphs.sequence_key as own_text
    from asked join graphs on graphs.{key} = asked.{key} order by graphs.prompt_key
"""

ACTIVE = """
    select prompt_key, layer, position, feature, activation from activations
    where prompt_key in (select prompt_key from asked_keys) order by prompt_key, layer, position, feature
"""


@dataclass(frozen=True)
class Named:
    """A feature that a query gives."""

    layer: int
    feature: int
    position: int | None = None
    """None for wherever it is active; negative from the end."""

    value: float = 0.0
    """Activation to set, of a feature that is put in."""


@dataclass(frozen=True)
class Asked:
    """A prompt that a query gives, with what is active on it."""

    key: int
    id: str
    token_ids: tuple[int, ...]
    group: str
    cluster: str
    target: ExplainedTarget
    """What the sweep's graph explains."""

    active: Int[np.ndarray, "N 3"]
    """(layer, position, feature) of its active features, sorted."""

    activations: Float[np.ndarray, " N"]
    answer: str | None = None
    partner: str | None = None


@dataclass(frozen=True)
class Features:
    """Features by the prompt that they are meant on."""

    everywhere: tuple[Named, ...] = ()
    by_prompt: Mapping[int, tuple[Named, ...]] = field(default_factory=dict)

    def on(self, key: int) -> tuple[Named, ...]:
        """Return the features that are meant on a prompt."""
        return (*self.everywhere, *self.by_prompt.get(key, ()))


@dataclass(frozen=True)
class Hypothesis:
    """Chosen features on chosen prompts, and what is done to them."""

    prompts: tuple[Asked, ...]
    features: Features
    factor: float | None = 0.0
    """Multiple of their activation that the features are set to; None where `value` is given."""

    value: float | None = None
    """Activation that they are set to instead."""

    put_in: Features | None = None
    """Features that are set to values in their place."""


def read_hypothesis(
    results: Results,
    features: str,
    prompts: str,
    swap_from: str | None = None,
    factor: float | None = None,
    value: float | None = None,
) -> Hypothesis:
    """Ask a sweep's tables for the features and the prompts of a hypothesis.

    Raises:
        ConfigurationError: a query gives no rows, lacks a column, or names what the sweep does not have.
        QueryError: DuckDB refuses a query.

    """
    if factor is not None and value is not None:
        raise ConfigurationError(
            "--factor and --value both say what becomes of the features: give one of them."
        )
    if factor == 1:
        raise ConfigurationError("--factor 1 changes nothing: give another factor, such as 0.")
    asked = _read_prompts(results, _answer(results, "--prompts", prompts))
    keys = {prompt.id: prompt.key for prompt in asked}
    chosen = _features(_answer(results, "--features", features), "--features", keys)
    put_in = None
    if swap_from is not None:
        put_in = _features(_answer(results, "--swap-from", swap_from, ("value",)), "--swap-from", keys)
    if value is None and factor is None:
        factor = 0.0
    return Hypothesis(asked, chosen, factor, value, put_in)


def _answer(results: Results, option: str, query: str, needed: tuple[str, ...] = ()) -> pa.Table:
    relation = results.sql(query)
    if relation is None:
        raise ConfigurationError(f"{option} {query!r} is no query: it gives no rows.")
    rows = relation.to_arrow_table()
    needed = (*needed, *(() if option == "--prompts" else ("layer", "feature")))
    if missing := [name for name in needed if name not in rows.column_names]:
        raise ConfigurationError(
            f"{option}: the query gives {', '.join(rows.column_names)}, but no {' and no '.join(missing)}: "
            "name the columns so, with `as` if need be."
        )
    if not rows.num_rows:
        raise ConfigurationError(f"{option}: the query finds nothing; try it with `circuit-sweep query`.")
    return rows


def _features(rows: pa.Table, option: str, keys: Mapping[str, int]) -> Features:
    everywhere: dict[Named, None] = {}
    by_prompt: dict[int, dict[Named, None]] = {}
    for row in rows.to_pylist():
        if any(row[name] is None for name in ("layer", "feature")) or row.get("value", 0.0) is None:
            raise ConfigurationError(f"{option}: the query gives NULL in {row}; leave such rows out.")
        position = row.get("position")
        named = Named(
            int(row["layer"]),
            int(row["feature"]),
            None if position is None else int(position),
            float(row.get("value", 0.0)),
        )
        key = row.get("prompt_key", keys.get(row["id"]) if "id" in row else None)
        if "prompt_key" not in row and "id" not in row:
            everywhere[named] = None
        elif key is not None:
            by_prompt.setdefault(key, {})[named] = None
    if not everywhere and not set(by_prompt) & set(keys.values()):
        raise ConfigurationError(f"{option}: no row is about a prompt of --prompts.")
    return Features(tuple(everywhere), {key: tuple(items) for key, items in by_prompt.items()})


def _read_prompts(results: Results, rows: pa.Table) -> tuple[Asked, ...]:
    key = next((name for name in ("prompt_key", "id") if name in rows.column_names), None)
    if key is None:
        raise ConfigurationError(
            f"--prompts: the query gives {', '.join(rows.column_names)}, but neither prompt_key nor id."
        )
    if len(rows[key].unique()) < rows.num_rows:
        raise ConfigurationError(f"--prompts: a {key} occurs more than once; give each prompt one row.")
    connection = results.connection()
    known = {"prompt_group", "cluster", "answer", "partner", key}
    connection.register("asked", rows.select([name for name in rows.column_names if name in known]))
    found = connection.sql(PROMPTS.format(key=key)).to_arrow_table()
    if found.num_rows < rows.num_rows:
        lost = set(rows[key].to_pylist()) - set(found[key].to_pylist())
        raise ConfigurationError(
            f"--prompts: {len(lost):,} of {rows.num_rows:,} have no graph in {results.url}, "
            f"such as {key} {next(iter(lost))!r}."
        )
    connection.register("asked_keys", pa.table({"prompt_key": found["key"]}))
    active = _active(connection.sql(ACTIVE).to_arrow_table())
    nothing = np.zeros((0, 3), np.int64), np.zeros(0)
    return tuple(_asked(row, *active.get(row["key"], nothing)) for row in found.to_pylist())


def _asked(
    row: dict[str, Any], active: Int[np.ndarray, "N 3"], activations: Float[np.ndarray, " N"]
) -> Asked:
    group, cluster = row.get("prompt_group"), row.get("cluster")
    return Asked(
        row["key"],
        row["name"],
        tuple(row["token_ids"]),
        ALL if group is None else str(group),
        f"text {row['own_text']}" if cluster is None else str(cluster),
        ExplainedTarget.of(row["targets"][0]),
        active,
        activations,
        row.get("answer"),
        row.get("partner"),
    )


def _active(rows: pa.Table) -> dict[int, tuple[Int[np.ndarray, "N 3"], Float[np.ndarray, " N"]]]:
    keys = rows["prompt_key"].to_numpy()
    features = np.stack([rows[name].to_numpy() for name in ("layer", "position", "feature")], axis=1)
    named, first = np.unique(keys, return_index=True)
    parts = zip(
        np.split(features.astype(np.int64), first[1:]),
        np.split(rows["activation"].to_numpy().astype(float), first[1:]),
        strict=True,
    )
    return dict(zip(named.tolist(), parts, strict=True)) if len(named) else {}
