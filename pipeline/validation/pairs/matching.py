"""The pairs of a sweep as items of work: each prompt with its partner, in the sweep's own shards.

A pair is two texts that share the value of a column. Where a text has graphs at several positions, those at
the same place, counted as positions are aligned, belong together; of generated text those of the same token
of it. What cannot be a pair is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import ConfigurationError, PromptError
from pipeline.runtime import Item, StageError
from pipeline.store import Output
from pipeline.validation.pairs.config import PairTests
from pipeline.validation.stored_circuits import PAIR

ROLE = "role"
"""Column that tells the two prompts of a pair apart, unless another is named."""

STAGE = "pairs"
"""Stage at which what is no pair fails."""

SHOWN = 4
"""Prompts that a message names."""

Row = dict[str, Any]

Positions = str | Sequence[int]

LAST = "last"
"""The rule of a sweep that traces the last position of each text."""


@dataclass(slots=True, kw_only=True)
class PairedPrompt(Item):
    """A prompt with its partner."""

    partner_key: int = 0
    partner_id: str = ""
    pair: str = ""
    """Value that the two share."""

    role: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    """The files that hold the prompt's rows, by table, relative to the sweep's output."""

    partner_files: Mapping[str, str] = field(default_factory=dict)


def resolved(source: Output, config: PairTests) -> PairTests:
    """Fill in the columns of pairs: those that the sweep file named, or the usual ones.

    Raises:
        ConfigurationError: the sweep has no such column.

    """
    columns = source.snapshot().schemas["graphs"].names
    recorded = source.claimed().run.get("pairs") or {}
    column = config.column or recorded.get("column") or PAIR
    role = config.role or recorded.get("role") or (ROLE if ROLE in columns else None)
    for option, name in (("--column", column), ("--role", role)):
        if name not in (None, *columns):
            raise ConfigurationError(
                f"{option} is {name!r}, which is no column of `graphs`; those are {', '.join(columns)}. "
                "`pairs: {column: NAME, role: NAME}` of the sweep file keeps the columns that say who "
                "belongs to whom."
            )
    return config.model_copy(update={"column": column, "role": role})


@dataclass(frozen=True)
class PairedPrompts:
    """The prompts of a sweep that are in pairs; those of one of its shards are a group."""

    source: Output
    """The sweep's output."""

    config: PairTests
    """With its columns filled in (see `resolved`)."""

    def __iter__(self) -> Iterator[PairedPrompt]:
        """Yield the prompts, shard by shard; those that have no partner with the reason why."""
        members = self._members()
        partners, refused = _matched(members, self.config, self._positions)
        rows = {row["prompt_key"]: row for row in members}
        files = {
            key: (marker.shard, {table: file.path for table, file in marker.files.items()})
            for marker in self.source.committed()
            for key in marker.prompt_keys
            if key in rows
        }
        for key, (shard, own) in files.items():
            row, partner = rows[key], partners.get(key)
            item = PairedPrompt(
                key=key,
                id=row["id"],
                group=shard,
                pair=row["pair"],
                role=row["role"],
                files=own,
            )
            if partner is None:
                item.refusal = StageError(STAGE, PromptError(refused[key]))
            else:
                item.partner_key, item.partner_id = partner, rows[partner]["id"]
                item.partner_files = files[partner][1]
            yield item

    @property
    def _positions(self) -> Positions:
        """The sweep's rule for positions."""
        return self.source.claimed().run.get("attribution", {}).get("positions", LAST)

    def _members(self) -> list[Row]:
        """Return what is to know of each prompt that has a value in the column of pairs."""
        column, role = self.config.column, self.config.role
        own = ["prompt_key", "id", "sequence_key", "positions", "generated_index"]
        names = [*own, column, *([role] if role else [])]
        found = self.source.dataset("graphs").to_table(columns=names).to_pylist()
        return [
            {
                **{name: row[name] for name in names[:5]},
                "pair": str(row[column]),
                "role": None if role is None or row[role] is None else str(row[role]),
            }
            for row in found
            if row[column] is not None
        ]


def _matched(
    members: Sequence[Row], config: PairTests, positions: Positions = LAST
) -> tuple[dict[int, int], dict[int, str]]:
    """Return each prompt's partner by key, and why others have none; `positions` is the sweep's rule."""
    pairs: dict[str, dict[int, list[Row]]] = {}
    for row in members:
        pairs.setdefault(row["pair"], {}).setdefault(row["sequence_key"], []).append(row)
    partners: dict[int, int] = {}
    refused: dict[int, str] = {}
    for name, texts in pairs.items():
        reason = _why_no_pair(name, list(texts.values()), config) or _why_no_end(config, positions)
        if reason is not None:
            refused |= {row["prompt_key"]: reason for rows in texts.values() for row in rows}
            continue
        one, other = texts.values()
        # One graph each belongs together; if lengths differ, the measurement says what to do.
        is_last = positions == LAST
        for mine, theirs in ((one, other), (other, one)):
            there = _places(theirs, config, is_last)
            for place, row in _places(mine, config, is_last).items():
                if place in there:
                    partners[row["prompt_key"]] = there[place]["prompt_key"]
                else:
                    refused[row["prompt_key"]] = (
                        f"its partner in pair {name!r} has no graph at this position: trace the same "
                        "positions of both."
                    )
    return partners, refused


def _why_no_pair(name: str, texts: Sequence[Sequence[Row]], config: PairTests) -> str | None:
    ids = [rows[0]["id"] for rows in texts]
    named = ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")
    if len(texts) != 2:
        return (
            f"pair {name!r} of column {config.column!r} has {len(texts)} text{'s' * (len(texts) != 1)} "
            f"({named}), but must have two. Prompts that failed, or repeat one another, have no graph of "
            "their own."
        )
    roles = [rows[0]["role"] for rows in texts]
    if config.role is not None and (None in roles or roles[0] == roles[1]):
        return (
            f"the prompts of pair {name!r} ({named}) have the roles {roles[0]!r} and {roles[1]!r} in column "
            f"{config.role!r}, but must have two different ones."
        )
    return None


def _why_no_end(config: PairTests, positions: Positions) -> str | None:
    """Return why places cannot be counted from the texts' ends: no graph says where these are."""
    if config.align == "start" or isinstance(positions, str) or -1 in positions or max(positions) < 0:
        return None
    return (
        f"the sweep's positions {list(positions)} are counted from the start, so that no graph says where "
        "its texts end: use `--align start`, or sweep with -1 among the positions."
    )


def _places(rows: Sequence[Row], config: PairTests, is_last: bool) -> dict[tuple[str, int], Row]:
    """Return a text's rows by what those of its partner are matched by."""
    if is_last:
        return {("last", 0): rows[0]}
    # The last graph is at the text's end, or as far from it as the partner's (see `_why_no_end`).
    last = max(row["positions"] for row in rows) if config.align == "end" else 0
    return {_place(row, last): row for row in rows}


def _place(row: Row, last: int) -> tuple[str, int]:
    if row["generated_index"] is not None:
        return "generated", row["generated_index"]
    return "position", last - row["positions"]
