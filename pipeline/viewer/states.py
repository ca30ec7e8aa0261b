"""States of a sweep's output that pages look at: each fixed, asked from a few threads at a time.

A page is of one state, whatever a running sweep commits meanwhile: its requests name the state, and the
server holds the last few. All SQL, the viewer's own too, runs on connections that can read nothing but the
output's files and change nothing (`Results.confine`).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from http import HTTPStatus
from queue import LifoQueue
from threading import Lock

import pyarrow as pa

from pipeline.results import Results
from pipeline.store import Moment
from pipeline.viewer.questions import RefusedError
from pipeline.viewer.summaries import Summaries
from schemas import NOTE_TABLES

logger = logging.getLogger(__name__)

ASKED_AT_ONCE = 4
"""Threads that ask a state; each has connections of its own."""

STATES_HELD = 4

MEMORY_BYTES = 2 << 30
"""Most memory that the queries of one state take."""


@dataclass
class State:
    """One state of the output."""

    results: Results
    moment: Moment | None
    """Published version or date; None for what was committed when it was opened."""

    opened: datetime = field(default_factory=lambda: datetime.now(UTC))

    summaries: Summaries = field(default_factory=Summaries)

    _idle: LifoQueue[Results] = field(default_factory=LifoQueue)

    @classmethod
    def open(cls, url: str, moment: Moment | None = None) -> State:
        """Open the output's state of now, or of a version or date.

        Raises:
            StoreError: there is no sweep, no such version, or its files were vacuumed.

        """
        state = cls(Results(url, moment), moment)
        if "faithfulness" in state.results.tables:
            state.results.add("verdicts", _verdicts(state.results))
        state.results.confine(MEMORY_BYTES)
        for _ in range(ASKED_AT_ONCE):
            state._idle.put(state.results.twin())
        return state

    @cached_property
    def name(self) -> str:
        """Hash of the files that make this state up."""
        files = {path for table in self.results.tables for path in _files(self.results, table)}
        return sha256("\n".join([str(self.moment), *sorted(files)]).encode()).hexdigest()[:16]

    @cached_property
    def graphs(self) -> int:
        """Number of graphs."""
        return self.results.dataset("graphs").count_rows()

    @cached_property
    def data_bytes(self) -> int:
        """Size of the tables' files."""
        files, folder = self.results.snapshot.files, self.results.snapshot.folder
        sizes = {entry.name: entry.bytes for table in files for entry in folder.list(f"{table}/_data")}
        return sum(sizes.get(path, 0) for paths in files.values() for path in paths)

    @contextmanager
    def lent(self) -> Iterator[Results]:
        """Lend connections to one thread; waits while all are out."""
        results = self._idle.get()
        try:
            yield results
        finally:
            self._idle.put(results)


def _files(results: Results, table: str) -> list[str]:
    """Files of a table that tell states apart."""
    if table in results.snapshot.files:
        return results.snapshot.files[table]
    if table in NOTE_TABLES:
        return results.dataset(table).to_table(columns=["note"])["note"].to_pylist()
    return getattr(results.dataset(table), "files", [])


def _verdicts(results: Results) -> pa.Table:
    """Return each tested graph's verdict: is its circuit necessary, beyond random sets, over all graphs."""
    from pipeline.validation import LEVEL, necessity_q_values  # late: scipy takes a while

    rows = results.sql("select prompt_key, is_at_stake, necessity_rank, draws from faithfulness")
    tested = rows.to_arrow_table()
    staked = tested["is_at_stake"].to_numpy().astype(bool)
    ranks = tested["necessity_rank"].cast(pa.float64()).to_numpy()
    q_values = necessity_q_values(ranks, tested["draws"].to_numpy().astype(float), staked)
    words = [
        "nothing at stake" if not at_stake else "necessary" if q <= LEVEL else "not necessary"
        for at_stake, q in zip(staked, q_values, strict=True)
    ]
    return pa.table(
        {
            "prompt_key": tested["prompt_key"].cast(pa.int64()),
            "verdict": pa.array(words, pa.string()),
            "necessity_q": pa.array(q_values, pa.float64()),
        }
    )


class States:
    """The states that pages look at now, the last few of them."""

    def __init__(self, url: str, moment: Moment | None) -> None:
        self.url = url
        self._lock = Lock()
        self._held: OrderedDict[str, State] = OrderedDict()
        self.first = self.current = self._hold(State.open(url, moment))

    def find(self, name: str, moment: str) -> State:
        """Return the state that a page names, or that of a version or date; by default the last opened.

        Raises:
            RefusedError: the server does not hold the state (any more).
            StoreError: there is no such version.

        """
        with self._lock:
            if name and not moment:
                if name not in self._held:
                    raise RefusedError(
                        "the server was started again, or holds newer states: this page's is gone.",
                        "Reload the page.",
                        HTTPStatus.GONE,
                    )
                self._held.move_to_end(name)
                return self._held[name]
            known = (state for state in self._held.values() if str(state.moment) == moment)
            if not moment or (found := next(known, None)) is None:
                found = self.current if not moment else self._hold(State.open(self.url, moment))
            return found

    def refresh(self) -> State:
        """Open what is committed now."""
        fresh = State.open(self.url)
        with self._lock:
            self.current = self._held.get(fresh.name) or self._hold(fresh)
            return self.current

    def new_graphs(self) -> int:
        """Count the graphs that were committed since the current state was opened."""
        return Results(self.url).dataset("graphs").count_rows() - self.current.graphs

    def _hold(self, state: State) -> State:
        self._held[state.name] = state
        while len(self._held) > STATES_HELD:
            oldest = next(name for name, held in self._held.items() if held is not self.current)
            del self._held[oldest]
        return state
