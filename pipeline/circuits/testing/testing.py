"""Test the circuits of a sweep on the test half: runs as work of the runtime, then one table of verdicts."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.aggregates import Grouping, read_groups
from pipeline.circuits.labels import Labels, label
from pipeline.circuits.roles import ROLES
from pipeline.circuits.settings import Settings
from pipeline.circuits.testing.prompts import choose_prompts
from pipeline.circuits.testing.sets import Node
from pipeline.circuits.testing.verdicts import verdict_rows
from pipeline.circuits.testing.work import CircuitWork
from pipeline.runtime import RunReport, WorkersConfig, output_of, run_work
from pipeline.runtime.telemetry import Progress
from pipeline.store import AggregateResult, CircuitTestsInfo, Output
from pipeline.store.commits import run_key
from pipeline.sweep import bytes_of_worker
from pipeline.sweep_model import recorded_model
from schemas import CIRCUIT_TABLES

FOLDER = "circuits_"
"""Beginning of the names of the outputs inside a sweep's that hold runs; a hash of the settings follows."""


@dataclass(frozen=True)
class TestRun:
    """Tests of circuits, and the prompts that they could not be run on."""

    __test__ = False  # pytest takes it for a test by its name

    result: AggregateResult | None
    """None if no prompt could be run."""

    failed: int
    """Prompts whose tests failed, in this start or before."""

    folder: str
    """Folder of the runs inside the sweep's output."""

    @property
    def exit_code(self) -> int:
        """0 if the tests of every prompt ran, 1 if some failed: that of the run's report."""
        return 1 if self.failed else 0


def run_tests(
    found: AggregateResult,
    grouping: Grouping,
    settings: Settings,
    progress: Progress,
    workers: WorkersConfig,
    address: str | None = None,
    trust_remote_code: bool = False,
) -> TestRun:
    """Test what was found, or return the tests that are there already.

    Args:
        found: result of `discover`.
        grouping: the same as there.
        settings: the same as there.
        progress: is told what happens.
        workers: processes that run the tests.
        address: Ray cluster to join; None for `RAY_ADDRESS`, or else a Ray on this machine.
        trust_remote_code: run code that the model's repository brings, if the sweep did.

    Raises:
        CircuitSweepError: the model cannot be had as it was, or the output cannot be written.
        KeyboardInterrupt: the user wants it to end; what was committed stays.

    """
    source = Output(found.url)
    snapshot = source.snapshot()
    identity = {**found.identity, "found": found.key, **asdict(settings)}
    result = AggregateResult.of(snapshot, "circuit_tests", identity, found.grouped_by)
    key = run_key(identity)
    folder = f"{FOLDER}{key % 2**64:016x}"
    if result.exists():
        result.mark_current()
        return TestRun(result, result.manifest().info.failed_prompts, folder)
    labels = label(read_groups(snapshot, grouping))
    circuits = found.dataset("circuits").to_table()
    support = found.dataset("circuit_support").to_table(filter=pc.field("half") == "test")
    prompts = choose_prompts(source, snapshot, labels, circuits, support, settings)
    used = recorded_model(source, trust_remote_code)
    memory = bytes_of_worker(used.model, used.transcoders, used.dtype, False)
    work = CircuitWork(source.url, _supernodes(found), settings.draws, used, memory)
    output = output_of(work, f"{source.url}/{folder}")
    output.claim(identity, key)
    progress.counts.total = len(prompts.roles)
    report = run_work(
        work,
        prompts,
        output,
        workers,
        progress,
        address=address,
        shard_size=sys.maxsize,  # a sweep's shard is one of ours: its rows lie together
        complete=prompts.complete,
        configuration=identity,
    )
    failed = report.counts.all_failed
    if failed and failed == len(prompts.roles):  # nothing was tested, and no table is to say that it was
        return TestRun(None, failed, folder)
    _commit(result, output, labels, settings, report, circuits.num_rows)
    return TestRun(result, failed, folder)


def _commit(
    result: AggregateResult,
    output: Output,
    labels: Labels,
    settings: Settings,
    report: RunReport,
    circuits: int,
) -> None:
    effects = output.dataset("circuit_effects").to_table()
    tested = labels.rows.filter(
        pc.is_in(labels.rows["prompt_key"], value_set=effects["prompt_key"].combine_chunks())
    )
    cluster_of = dict(zip(tested["prompt_key"].to_pylist(), tested["cluster"].to_pylist(), strict=True))
    paraphrases = _paraphrases(result.output, settings.paraphrases, list(cluster_of))
    rows = verdict_rows(effects, cluster_of, paraphrases, settings)
    schema = CIRCUIT_TABLES["circuit_tests"].schema
    table = pa.Table.from_pylist(rows, schema.remove(schema.get_field_index("grouped_by")))
    info = CircuitTestsInfo(
        circuits=circuits,
        tested_prompts=effects.num_rows,
        failed_prompts=output.dataset("failures").count_rows(),
        test_seconds=sum(marker.seconds.validation for marker in output.committed()),
        seconds=(report.finished - report.started).total_seconds(),
    )
    result.commit({"circuit_tests": [result.write("circuit_tests", table, 0)]}, info)


def _supernodes(found: AggregateResult) -> dict[str, dict[Node, int]]:
    """Return the supernode of each feature, by circuit."""
    nodes = found.dataset("circuit_nodes").to_table(filter=pc.field("feature").is_valid())
    circuits: dict[str, dict[Node, int]] = {}
    for row in nodes.to_pylist():
        node = row["layer"], row["feature"], ROLES.index(row["role"])
        circuits.setdefault(row["circuit"], {})[node] = row["supernode"]
    return circuits


def _paraphrases(source: Output, column: str | None, keys: list[int]) -> dict[int, str]:
    if column is None:
        return {}
    wanted = pc.field("prompt_key").isin(np.array(keys, np.int64))
    rows = source.dataset("graphs").to_table(columns=["prompt_key", column], filter=wanted)
    pairs = zip(rows["prompt_key"].to_pylist(), rows[column].to_pylist(), strict=True)
    return {key: str(value) for key, value in pairs if value is not None}
