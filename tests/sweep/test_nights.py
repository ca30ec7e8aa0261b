"""Three nights over a dataset that grows: only what is new is traced, and every night can be asked again."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from rich.console import Console

from jobs import query
from jobs._summary import print_summary
from pipeline.runtime.telemetry.progress import Progress
from pipeline.runtime.telemetry.run_report import RunReport
from pipeline.store.commits.runs import report_names
from pipeline.store.output import Output
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.run import run_sweep
from schemas import TABLES
from tests.support.tiny_model import sentence

pytestmark = pytest.mark.slow

NIGHTS = (range(5), range(5, 8), range(8, 12))
"""Prompts that each night adds; the second also brings one that cannot be traced, and one that was there."""

UNKNOWN = {"id": "unknown", "prompt": "Dallas"}


@dataclass(frozen=True)
class Night:
    """What a night left."""

    report: RunReport
    summary: str


@dataclass(frozen=True)
class Nights:
    """Three nights and a fourth on which nothing was new."""

    folder: Path
    """The output."""

    nights: list[Night]

    def rows(self, table: str, night: int) -> list[dict[str, Any]]:
        """A table's rows after a night, as deltalake reads them."""
        version = self.version(table, night)
        delta = DeltaTable(str(self.folder / table), version=version)
        return sorted(delta.to_pyarrow_table().to_pylist(), key=repr)

    def version(self, table: str, night: int) -> int:
        """A table's version after a night: the last that it or a night before published."""
        published = (past.report.published.get(table) for past in reversed(self.nights[: night + 1]))
        return next(version for version in published if version is not None)


def prompts_of(night: int) -> list[dict[str, Any]]:
    rows = [{"id": f"q{i}", "prompt": sentence(i)} for new in NIGHTS[: night + 1] for i in new]
    return rows + [UNKNOWN, {"id": "again", "prompt": sentence(0)}] * (night > 0)


@pytest.fixture(scope="module")
def nights(tiny: Path, address: str, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    folder = tmp_path_factory.mktemp("nights")
    config = SweepConfig.model_validate(
        {
            "model": str(tiny / "model"),
            "transcoders": str(tiny / "transcoders"),
            "prompts": str(folder / "prompts.jsonl"),
            "output": str(folder / "output"),
            "shard_size": 2,
            "workers": {"replicas": 1, "cores_per_replica": 1},
        }
    )
    found = []
    for night in (0, 1, 2, 2):
        (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, prompts_of(night))))
        report = run_sweep(config, Progress(Console(quiet=True)), address)
        screen = Console(file=io.StringIO(), width=200)
        print_summary(screen, Output(config.output), report, "circuit-sweep")
        found.append(Night(report, screen.file.getvalue()))
    return Nights(folder / "output", found)


def test_each_night_traces_only_what_is_new(nights: Nights) -> None:
    reports = [night.report for night in nights.nights]
    assert [(report.counts.done, report.counts.failed, report.counts.new) for report in reports] == [
        (5, 0, 5),
        (3, 1, 4),
        (4, 0, 4),
        (0, 0, 0),
    ]
    assert [report.counts.already_done for report in reports] == [0, 5, 8, 12]


def test_each_night_publishes_one_version_of_each_table_that_got_rows(nights: Nights) -> None:
    all_tables = dict.fromkeys(TABLES, 0)
    with_graphs = [name for name in TABLES if name != "failures"]
    assert [night.report.published for night in nights.nights] == [
        all_tables,
        dict.fromkeys(with_graphs, 1) | {"failures": 1},
        dict.fromkeys(with_graphs, 2),
        {},
    ]


def test_the_report_and_the_summary_say_what_is_new(nights: Nights) -> None:
    folder = Output(nights.folder).folder
    stored = [json.loads(folder.read(name)) for name in reversed(report_names(folder))]
    assert [report["published"] for report in stored] == [night.report.published for night in nights.nights]
    assert [report["counts"]["done"] for report in stored] == [5, 3, 4, 0]
    for night, new, versions in zip(
        nights.nights,
        ("5: 5 graphs, 0 failed", "4: 3 graphs, 1 failed", "4: 4 graphs, 0 failed", "0: 0 graphs, 0 failed"),
        ("graphs 0, nodes 0", "graphs 1, nodes 1", "graphs 2, nodes 2", "none"),
        strict=True,
    ):
        lines = {
            line.partition("  ")[0]: line.partition("  ")[2].strip() for line in night.summary.splitlines()
        }
        assert lines["new"] == new
        assert lines["new versions"].startswith(versions)


@pytest.mark.parametrize("night", range(3))
@pytest.mark.parametrize("table", TABLES)
def test_every_night_is_read_back_through_deltalake_and_polars(
    nights: Nights, table: str, night: int
) -> None:
    rows = nights.rows(table, night)
    lazy = pl.scan_delta(str(nights.folder / table), version=nights.version(table, night))
    assert sorted(lazy.collect().to_dicts(), key=repr) == rows
    until = {row["prompt_key"]: row for row in nights.rows("graphs", night)}
    assert sorted(row["id"] for row in until.values()) == sorted(
        f"q{i}" for new in NIGHTS[: night + 1] for i in new
    )
    if table in ("nodes", "edges", "activations", "reconstruction"):
        assert {row["prompt_key"] for row in rows} == until.keys()
    if table == "failures":
        assert [row["id"] for row in rows] == ["unknown"] * (night > 0)


@pytest.mark.parametrize("night", range(2))
def test_a_later_night_changes_no_row_of_an_earlier_one(nights: Nights, night: int) -> None:
    for table in TABLES:
        before, after = nights.rows(table, night), nights.rows(table, night + 1)
        assert [row for row in after if row in before] == before


@pytest.mark.parametrize(("night", "count"), [(0, 5), (1, 8), (2, 12)])
def test_query_asks_a_night(
    nights: Nights, night: int, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    sql = "select count(*) as prompts, (select count(distinct prompt_key) from edges) as traced from graphs"
    assert query.main([str(nights.folder), sql, "--at", str(night), "--format", "csv"]) == 0
    assert capsys.readouterr().out.split() == ["prompts,traced", f"{count},{count}"]
