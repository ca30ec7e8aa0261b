"""Random histories of one output: runs, kills at any change of a file, growth, upkeep, damage, time travel.

The machine knows each prompt's rows. After every step each prompt that is done has its rows once, in every
table; `verify` never says "sound" of changed bytes and never ends in a traceback.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.errors import StoreError
from pipeline.store.commits.keys import shard_id
from pipeline.store.delta import publish as publishing
from pipeline.store.files.local import LocalFolder
from pipeline.store.layout import DRIVER, UPKEEP
from pipeline.store.output import Output
from pipeline.store.rows.failures import failure_tables, join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import FailedPrompt
from pipeline.store.verify import repair, verify
from pipeline.store.verify.report import Remedy
from schemas import TABLES
from tests.support.random_graphs import random_prompt

RUN_KEY = -7
SHARD = 3
CHANGES = ("write", "create", "replace", "link", "delete")
Rows = dict[str, pa.Table]


class Killed(BaseException):
    """The process is no more."""


@contextmanager
def killed_at(change: int | None) -> Iterator[None]:
    """Kill this process, as far as files can tell, before its n-th change: nothing that follows is done."""
    left = [change]

    def mortal(act: Callable[..., Any]) -> Callable[..., Any]:
        def act_or_die(*arguments: Any, **options: Any) -> Any:
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
            return act(*arguments, **options)

        return act_or_die

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(LocalFolder, name, mortal(getattr(LocalFolder, name)))
        for name in ("_create_missing", "_add_missing"):  # what deltalake writes
            patch.setattr(publishing, name, mortal(getattr(publishing, name)))
        with suppress(Killed):
            yield


def rows_of(prompt: int) -> Rows:
    """A prompt's rows in each table; every fifth has failed."""
    if prompt % 5 == 4:
        failed = FailedPrompt(prompt, f"p{prompt}", RUN_KEY, "", "tokenize", "PromptError", "empty")
        return failure_tables(failed)
    return graph_tables(random_prompt(prompt, edges=8))


def key_of(rows: Rows) -> int:
    table = rows["graphs"] if "graphs" in rows else rows["failures"]
    return table["prompt_key"][0].as_py()


def plain(table: pa.Table) -> Counter[str]:
    """Rows without the time at which they were made."""
    return Counter(
        map(repr, table.drop_columns([n for n in ("created",) if n in table.schema.names]).to_pylist())
    )


KILL = st.one_of(st.none(), st.integers(0, 40))


class Histories(RuleBasedStateMachine):
    """One output, and what has to be in it."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="histories-"))
        self.output = Output(self.folder / "out")
        self.output.claim({}, RUN_KEY)
        self.prompts: dict[int, Rows] = {}
        self.shards: dict[str, set[int]] = {}
        self.damaged: dict[str, bytes] = {}
        self.versions: dict[int, Counter[str]] = {}
        self.attempts = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def act(self, kill: int | None, act: Callable[[], object]) -> bool:
        """Let a process do something; False if it was killed or refused to go on."""
        done = False
        with killed_at(kill):
            try:
                act()
                done = True
            except StoreError:
                assert self.damaged, "only damage is a reason to refuse"
        for lease in (DRIVER, UPKEEP):  # its process is gone: see the lease's own tests
            Path(self.output.folder.path(lease)).unlink(missing_ok=True)
        return done

    @rule(count=st.integers(1, 4))
    def grow(self, count: int) -> None:
        for _ in range(count):
            rows = rows_of(len(self.prompts))
            self.prompts[key_of(rows)] = rows

    @rule(kill=KILL)
    def run(self, kill: int | None) -> None:
        self.act(kill, self._run)
        self._remember_version()

    def _run(self) -> None:
        with self.output.hold():
            done = {key for marker in self.output.committed() for key in marker.keys}
            left = [key for key in self.prompts if key not in done]
            for start in range(0, len(left), SHARD):
                keys = left[start : start + SHARD]
                shard = shard_id(keys, RUN_KEY)
                self.attempts += 1
                self.shards[shard] = {*keys}
                self.output.commit(shard, join_tables(self.prompts[key] for key in keys), f"{self.attempts}")
            published = self.output.publish(RUN_KEY)
            self.output.delete_orphans(float("inf"), published.dropped)

    @rule(kill=KILL, everything=st.booleans())
    def compact(self, kill: int | None, everything: bool) -> None:
        self.act(kill, lambda: self.output.compact(everything))
        self._remember_version()

    @rule(kill=KILL)
    def vacuum(self, kill: int | None) -> None:
        self.act(kill, self.output.vacuum)
        self.versions.clear()
        if not self.damaged:
            self._remember_version()

    @rule(kill=KILL)
    def repair(self, kill: int | None) -> None:
        before = self._remedies()
        if self.act(kill, lambda: repair(self.output.url)):
            after = self._remedies()
            assert Remedy.REDO not in after
            if before <= {Remedy.REDO, Remedy.PROJECTIONS}:  # a run and a compaction mend the rest
                assert after <= {Remedy.RUN}
        self.versions.clear()  # earlier versions lack what was taken away, or still have it

    @precondition(lambda self: not self.damaged)
    @rule(data=st.data(), how=st.sampled_from(["flip", "cut", "delete"]))
    def damage(self, data: st.DataObject, how: str) -> None:
        files = sorted(
            path
            for pattern in ("*/_data/*.parq", "_commits/*.json", "_compactions/*.json", "_projections/*/*")
            for path in self.output_path.glob(pattern)
        )
        if not files:
            return
        path = data.draw(st.sampled_from(files), label="file")
        content = path.read_bytes()
        self.damaged[path.relative_to(self.output_path).as_posix()] = content
        plain_name = [p for p in self.output_path.glob(f"*/{path.stem}.parquet") if p.samefile(path)]
        for second in (path, *plain_name):  # a new file under the old names: links share their bytes
            second.unlink()
        if how != "delete":
            at = data.draw(st.integers(0, len(content) - 1), label="byte")
            changed = (
                content[:at]
                if how == "cut"
                else content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :]
            )
            path.write_bytes(changed)

    @precondition(lambda self: self.damaged)
    @rule()
    def restore(self) -> None:
        """Put back from a backup what is still named by something."""
        for name, content in self.damaged.items():
            self.output.folder.replace(name, content)
        self.damaged.clear()

    @property
    def output_path(self) -> Path:
        return Path(self.output.folder.root)

    def _remedies(self) -> set[Remedy]:
        return {problem.remedy for problem in verify(self.output.url).problems}

    def _current(self) -> Counter[str]:
        return plain(self.output.snapshot().dataset("nodes").to_table())

    def _remember_version(self) -> None:
        if not self.damaged and (versions := self.output.versions()):
            self.versions[max(versions)] = plain(
                self.output.snapshot(max(versions)).dataset("nodes").to_table()
            )

    @invariant()
    def every_prompt_is_there_once(self) -> None:
        """Each prompt that is done has exactly its rows; one that is not done has none."""
        if self.damaged or not hasattr(self, "output"):
            return
        try:
            done = {key for marker in self.output.committed() for key in marker.keys}
        except StoreError:  # a repair was killed: it says so, and the next one finishes it
            assert Remedy.REDO in self._remedies()
            return
        snapshot = self.output.snapshot()
        expected = join_tables(rows for key, rows in self.prompts.items() if key in done)
        for table in TABLES:
            found = plain(snapshot.dataset(table).to_table())
            assert found == (plain(expected[table]) if table in expected else Counter()), table

    @invariant()
    def verify_tells_the_truth(self) -> None:
        if not hasattr(self, "output"):
            return
        report = verify(self.output.url)
        if not self.damaged:
            # What a killed repair has begun waits for the next, and nothing else is wrong.
            assert {p.remedy for p in report.problems} <= {Remedy.REDO, Remedy.PROJECTIONS, Remedy.RUN}
            return
        if report.sound:
            snapshot = self.output.snapshot()
            counted = {path for paths in snapshot.files.values() for path in paths}
            counted |= {path for paths in snapshot.projections.values() for path in paths}
            counted |= {name for name in self.damaged if name.startswith("_commits/")}
            assert not counted & self.damaged.keys(), "sound, but a file that counts has other bytes"

    @invariant()
    def earlier_versions_are_as_they_were(self) -> None:
        if self.damaged or not hasattr(self, "versions"):
            return
        for number, rows in self.versions.items():
            assert plain(self.output.snapshot(number).dataset("nodes").to_table()) == rows


def limits(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        derandomize=examples < 100,
        print_blob=True,
    )


TestHistories = Histories.TestCase
TestHistories.settings = limits(10, 12)


@pytest.mark.slow
class TestManyHistories(Histories.TestCase):
    settings = limits(120, 15)
