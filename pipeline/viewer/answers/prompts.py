"""`/api/prompts`: the table of prompts, filtered, sorted, by keyset pages; and `/api/failures`.

The rows are `shown`: those of `graphs` with `correct` (where the prompts bring answers), and the verdict and
the shares of the validation (where there is one). A filter `where` is SQL over these columns.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigurationError
from pipeline.features import parse_feature
from pipeline.results import is_correct
from pipeline.token_labels import printable_token
from pipeline.viewer.asked import Asked, listed, literal, quoted
from pipeline.viewer.questions import RefusedError
from pipeline.viewer.safe_sql import check_expression

PAGE, LARGEST_PAGE = 100, 1000

FACET_VALUES = 50
"""Most values that a facet lists."""

FAITHFULNESS = (
    "necessity",
    "necessity_null",
    "necessity_rank",
    "sufficiency",
    "sufficiency_null",
    "draws",
    "spearman",
)

ROW = (
    "id",
    "text",
    "tokens",
    "targets",
    "prediction",
    "prediction_probability",
    "entropy",
    "positions",
    "active_features",
    "graph_nodes",
    "kept_nodes",
    "kept_edges",
    "replacement_score",
    "completeness_score",
    "unexpanded_influence",
)
"""Columns of `graphs` in a row of the table."""


def shown(asked: Asked) -> str:
    """Return SQL of the prompts with all that is known of each."""
    taken = asked.results.snapshot.schemas["graphs"].names
    extra, joins = [], ""
    if "correct" not in taken:
        extra.append(f"{_correct(asked)} as correct")
    if asked.has("faithfulness", "verdicts"):
        joins = "left join faithfulness f using (prompt_key) left join verdicts v using (prompt_key)"
        extra += [f"f.{name}" for name in FAITHFULNESS if name not in taken]
        extra += [sql for name, sql in VERDICT.items() if name not in taken]
    else:
        extra += [f"null::double as {name}" for name in (*FAITHFULNESS, "necessity_q") if name not in taken]
        extra += ["null::varchar as verdict"] if "verdict" not in taken else []
    return f"(select g.*, {', '.join(extra)} from graphs g {joins})"


VERDICT = {"necessity_q": "v.necessity_q", "verdict": "coalesce(v.verdict, 'not tested') as verdict"}


def _correct(asked: Asked) -> str:
    schema = asked.results.snapshot.schemas["graphs"]
    return is_correct(schema.field("answer")) if "answer" in schema.names else "null::boolean"


def prompts(asked: Asked) -> dict[str, Any]:
    """Return a page of prompts; the first page also says how many there are, and counts facets."""
    question = asked.question
    limit = question.number("limit", PAGE, 1, LARGEST_PAGE)
    conditions = [f"({condition})" for condition in filters(asked)]
    column, down = _order(asked)
    after = question.text("after")
    page = [*conditions, _beyond(after, column, down)] if after else conditions
    direction = "desc" if down else "asc"
    rows = asked.rows(
        f"select prompt_key, {', '.join(map(quoted, _columns(asked)))}, {column} as sorted_by "
        f"from {shown(asked)} shown where {' and '.join(page) or 'true'} "
        f"order by {column} {direction} nulls last, prompt_key limit {limit + 1}"
    )
    more, rows = len(rows) > limit, rows[:limit]
    cursor = _cursor(rows[-1]) if more else None
    influences = _token_influences(asked, [row["prompt_key"] for row in rows])
    found = {"rows": [_row(row, influences.get(row["prompt_key"], {})) for row in rows], "after": cursor}
    return found if after else found | _counts(asked, conditions)


def _columns(asked: Asked) -> list[str]:
    extra = [name for name in asked.extra_columns if name not in ROW]
    ours = [name for name in ("correct", "verdict", "necessity_q", *FAITHFULNESS) if name not in extra]
    return [*ROW, *ours, *extra]


def filters(asked: Asked) -> list[str]:
    """Return the conditions that the question puts on prompts, as SQL over `shown`.

    Raises:
        RefusedError: a condition is no SQL expression, or names a column that is not there.

    """
    question = asked.question
    found = []
    if where := question.text("where").strip():
        found.append(checked_where(asked, where))
    found += words(asked, question.text("q").strip())
    facets: dict[str, list[str]] = {}
    for name, values in question.parameters.items():
        if name.startswith("is."):
            facets[_known(asked, name.removeprefix("is."))] = list(values)
    for column, values in facets.items():
        found.append(" or ".join(f"coalesce({column}::varchar, '') = {literal(value)}" for value in values))
    return found


def checked_where(asked: Asked, where: str) -> str:
    """Return a filter that is one SQL expression and reads nothing but the tables."""
    check_expression(asked.results, where)
    return f"{where}\n"  # the line's end closes a comment


def words(asked: Asked, text: str) -> Iterator[str]:
    """Yield conditions of the box: `where: SQL`, a feature's name, or words and "quoted words"."""
    if text.lower().startswith("where:"):
        yield checked_where(asked, text[len("where:") :])
        return
    try:
        feature = parse_feature(text)
    except ConfigurationError:
        feature = None
    if feature is not None:
        here = "" if feature.position is None else f" and position = {feature.position}"
        yield (
            "prompt_key in (select prompt_key from nodes where kind = 'feature' and "
            f"layer = {feature.layer} and feature = {feature.feature}{here})"
        )
        return
    for number, part in enumerate(text.split('"')):
        for word in [part] if number % 2 else part.split():
            if word:
                part = f"lower({literal(word)})"
                yield f"contains(lower(text), {part}) or contains(lower(id), {part})"


def _known(asked: Asked, name: str) -> str:
    known = [*asked.results.snapshot.schemas["graphs"].names, *_columns(asked)]
    if name not in known:
        raise RefusedError(
            f"there is no column {name[:60]!r}.", f"There are {', '.join(dict.fromkeys(known))}."
        )
    return quoted(name)


def _order(asked: Asked) -> tuple[str, bool]:
    given = asked.question.text("sort") or "id"
    name = given.removeprefix("-")
    column = _known(asked, name)
    schema = asked.results.snapshot.schemas["graphs"]
    if name in schema.names and pa.types.is_nested(schema.field(name).type):
        raise RefusedError(f"sort={given[:60]!r}: {name} is a list, which has no order.")
    return column, given.startswith("-")


def _beyond(cursor: str, column: str, down: bool) -> str:
    """Return the condition of the rows after a page's last one."""
    try:
        kind, value, key = json.loads(urlsafe_b64decode(cursor.encode()))
        last = f"prompt_key > {int(key)}"
        if kind not in ("null", "number", "text") or not isinstance(value, str):
            raise ValueError(kind)
    except (ValueError, TypeError) as error:
        raise RefusedError(f"after={cursor[:40]!r} is no cursor of this table.") from error
    if kind == "null":
        return f"({column} is null and {last})"
    here = f"{column}::double" if kind == "number" else column
    value = literal(value) + ("::double" if kind == "number" else "")
    return f"({here} {'<' if down else '>'} {value} or ({here} = {value} and {last}) or {column} is null)"


def _cursor(row: dict[str, Any]) -> str:
    value = row["sorted_by"]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    kind = "null" if value is None else "number" if is_number else "text"
    text = "" if value is None else repr(value) if is_number else str(value)
    return urlsafe_b64encode(json.dumps([kind, text, str(row["prompt_key"])]).encode()).decode()


def _token_influences(asked: Asked, keys: list[int]) -> dict[int, dict[int, float]]:
    found: dict[int, dict[int, float]] = {}
    for row in asked.rows(
        "select prompt_key, position, influence from nodes where kind = 'token' "
        f"and prompt_key in {listed(keys)}"
    ):
        found.setdefault(row["prompt_key"], {})[row["position"]] = row["influence"]
    return found


def _row(row: dict[str, Any], influences: dict[int, float]) -> dict[str, Any]:
    tokens, targets = row.pop("tokens"), row.pop("targets")
    del row["sorted_by"]
    return row | {
        "prompt_key": str(row["prompt_key"]),
        "tokens": [printable_token(token) for token in tokens],
        "token_influence": [influences.get(position, 0.0) for position in range(len(tokens))],
        "targets": [{**target, "label": printable_token(target["label"])} for target in targets],
        "prediction": printable_token(row["prediction"]),
    }


def _counts(asked: Asked, conditions: list[str]) -> dict[str, Any]:
    """Count the prompts that fit, and the most frequent values of each facet among them."""
    names = [name for name in dict.fromkeys([asked.family(), "verdict", "correct"]) if name is not None]
    values = ", ".join(f"coalesce({quoted(name)}::varchar, '') as f{n}" for n, name in enumerate(names))
    columns = ", ".join(f"f{n}" for n in range(len(names)))
    sets = ", ".join(f"(f{n})" for n in range(len(names)))
    rows = asked.rows(
        f"select {columns}, count(*) as n, grouping({columns}) as facet "
        f"from (select {values} from {shown(asked)} shown where {' and '.join(conditions) or 'true'}) "
        f"group by grouping sets ({sets}, ()) "
        f"qualify row_number() over (partition by facet order by n desc, {columns}) <= {FACET_VALUES} "
        f"order by n desc, {columns}"
    )
    everything = (1 << len(names)) - 1  # bits of the columns that a row is not grouped by
    facets = {
        name: [
            [row[f"f{n}"], row["n"]]
            for row in rows
            if row["facet"] == everything & ~(1 << (len(names) - 1 - n))
        ]
        for n, name in enumerate(names)
    }
    return {"total": next(row["n"] for row in rows if row["facet"] == everything), "facets": facets}


def failures(asked: Asked) -> dict[str, Any]:
    """Return the prompts that have no graph, each with its stage and message."""
    limit = asked.question.number("limit", LARGEST_PAGE, 1, LARGEST_PAGE)
    rows = asked.rows(
        "select prompt_key, id, text, stage, error_class, message, attempts, created from failures "
        f"order by stage, id limit {limit}"
    )
    total = asked.results.dataset("failures").count_rows()
    return {"rows": [row | {"prompt_key": str(row["prompt_key"])} for row in rows], "total": total}
