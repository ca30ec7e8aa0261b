"""The report of one start, which stays in the output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.runtime.shards import Counts

FINISHED, SOME_FAILED = 0, 1
"""Exit codes of a run that came to its end."""


@dataclass
class RunReport:
    """One start, as it is stored in `_runs/`."""

    state: str
    """`finished`, or the class of the error that ended it early."""

    started: datetime
    finished: datetime
    counts: Counts
    run_key: int
    configuration: Mapping[str, Any]
    """The resolved configuration."""

    repeated_keys: Mapping[str, int]
    """Ids of the first of the repeated items, with the keys under which their rows are."""

    shared_ids: Mapping[str, int] = field(default_factory=dict)
    """The first ids that different items share, with the number of these items."""

    error: str | None = None
    """The message of the error that ended it early."""

    published: dict[str, int] = field(default_factory=dict)
    """The version of each table that this start published; tables without new rows get none."""

    notes: list[str] = field(default_factory=list)
    """Notes on what was out of the ordinary."""

    @property
    def exit_code(self) -> int:
        """0 if every item has rows, 1 if some failed, in this start or before."""
        return SOME_FAILED if self.counts.all_failed else FINISHED
