from __future__ import annotations

import base64
import json
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import ConfigurationError, DamageError, StoreError
from pipeline.results import Results
from pipeline.runtime.status import read_status
from pipeline.store.commits.keys import run_key
from pipeline.store.layout import SWEEP, manifest_name, marker_name
from pipeline.store.output import Output
from pipeline.store.verify import verify
from schemas import FORMAT, TABLES
from tests.support.word_counts import CountWords

RUN = {"model": "demo", "pruning": {"node_threshold": 0.8, "edge_threshold": 0.98}, "layers": [1, 2]}
COLUMNS = pa.schema([("family", pa.large_string()), ("weight", pa.float32())])


def test_the_same_run_may_go_on(output: Output) -> None:
    output.claim(RUN, run_key(RUN), COLUMNS)
    Output(output.url).claim(RUN | {"layers": (1, 2)}, run_key(RUN), COLUMNS)
    assert output.claimed().run == RUN
    assert output.claimed().run_key == run_key(RUN)


def test_what_does_not_change_results_may_differ(output: Output) -> None:
    output.claim(RUN | {"workers": 1}, run_key(RUN))
    output.claim(RUN | {"workers": 8}, run_key(RUN))
    assert output.claimed().run["workers"] == 1


def test_another_run_is_refused_with_the_difference(output: Output) -> None:
    output.claim(RUN | {"seed": 1}, run_key(RUN), COLUMNS)
    other = RUN | {"pruning": {"node_threshold": 0.5, "edge_threshold": 0.98}}
    with pytest.raises(StoreError) as refused:
        output.claim(other, run_key(other), pa.schema([("family", pa.int64())]))
    assert str(refused.value).splitlines() == [
        f"{output.url} holds a sweep of another configuration (there -> here):",
        "  columns.family: string -> int64",
        "  columns.weight: float -> (absent)",
        "  pruning.node_threshold: 0.8 -> 0.5",
        "  seed: 1 -> (absent)",
        "Choose another output, or put these back to go on with the sweep that is there.",
    ]


@pytest.mark.parametrize("inside", ["", "out"])
def test_an_output_behind_a_file_is_refused_by_name(tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    path = str(tmp_path / "file" / inside)
    with pytest.raises(StoreError, match=re.escape(path)) as refused:
        Output(path).claim(RUN, 1)
    assert "file stands where a folder is needed" in str(refused.value)


@pytest.mark.skipif(sys.platform != "linux", reason="folders of Linux's kernel")
@pytest.mark.parametrize(
    ("path", "reason"), [("/proc/x", "No folder can be made"), ("/sys/x", "right to write")]
)
def test_an_output_where_nobody_may_write_is_refused_by_name(path: str, reason: str) -> None:
    with pytest.raises(StoreError, match=rf"cannot create {path}/.*{reason}"):
        Output(path).claim(RUN, 1)


def test_of_two_sweeps_that_claim_at_once_one_is_refused(output: Output) -> None:
    refused = []

    def claim(number: int) -> None:
        try:
            Output(output.url).claim({"number": number}, number)
        except StoreError:
            refused.append(number)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted([*refused, output.claimed().run["number"]]) == [0, 1, 2, 3]


def test_the_extra_columns_are_known_to_every_worker(output: Output) -> None:
    output.claim(RUN, run_key(RUN), COLUMNS)
    worker = Output(output.url)
    assert worker.extra_columns.names == ["family", "weight"]
    assert worker.extra_columns.types == [pa.string(), pa.float32()]
    assert worker.dataset("graphs").schema.names[-2:] == ["family", "weight"]
    assert worker.dataset("failures").schema.names[-2:] == ["family", "weight"]


def test_a_name_that_the_tables_use_is_refused_before_anything_is_written(output: Output) -> None:
    with pytest.raises(ConfigurationError, match="stage, text would collide"):
        output.claim(RUN, run_key(RUN), pa.schema([("stage", pa.int64()), ("text", pa.string())]))
    with pytest.raises(StoreError, match="holds no sweep"):
        output.claimed()


def test_an_output_of_version_0_1_is_refused_by_name(output: Output) -> None:
    old = {"run_key": run_key(RUN), "run": RUN, "columns": {}, "created": "2026-11-25T12:00:00Z"}
    output.folder.write("_sweep.json", json.dumps(old).encode())
    asked: list[Callable[[], object]] = [
        output.claimed,
        output.duckdb,
        lambda: output.claim(RUN, run_key(RUN)),
        lambda: list(output.committed()),
        output.versions,
        output.vacuum,
        lambda: read_status(output),
    ]
    for ask in asked:
        with pytest.raises(StoreError, match=r"Circuit Sweep 0\.1.* format 1"):
            ask()


def test_an_unclaimed_folder_is_of_no_format(output: Output) -> None:
    assert list(output.committed()) == []
    assert output.versions() == {}
    assert output.vacuum().files == 0
    assert read_status(output).state == "never started"


@pytest.mark.parametrize("name", [marker_name("a" * 32), manifest_name("20261125T120000000000-00000000")])
def test_bookkeeping_of_version_0_1_is_refused_by_name(output: Output, name: str) -> None:
    output.claim(RUN, run_key(RUN))
    output.folder.write(name, json.dumps({"format": 1}).encode())
    with pytest.raises(StoreError, match=rf"{name} .*Circuit Sweep 0\.1.* format 1") as refused:
        output.snapshot()
    assert not isinstance(refused.value, DamageError)


def test_an_output_of_a_later_version_is_refused(output: Output) -> None:
    output.folder.write("_sweep.json", json.dumps({"format": FORMAT + 1}).encode())
    with pytest.raises(StoreError, match=f"later version.* format {FORMAT + 1}"):
        output.claimed()


def test_a_damaged_claim_is_named(output: Output) -> None:
    output.folder.write("_sweep.json", b'{"run')
    with pytest.raises(StoreError, match=r"_sweep\.json is damaged"):
        output.claim(RUN, run_key(RUN))


def test_a_store_that_ignores_the_condition_is_refused(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overwrite(name: str, data: bytes) -> bool:
        output.folder.fs.pipe_file(output.folder.path(name), data)
        return True

    output.folder.write("touched", b"")
    monkeypatch.setattr(output.folder, "create", overwrite)
    with pytest.raises(StoreError, match="ignores `If-None-Match"):
        output.claim(RUN, run_key(RUN))


def damaged(output: Output, table: int = 0, **changes: object) -> Output:
    """Change what an output says of one of its tables."""
    stored = json.loads(output.folder.read(SWEEP))
    stored["tables"][table] |= changes
    output.folder.replace(SWEEP, json.dumps(stored).encode())
    return Output(output.url)


def as_columns(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize()).decode()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../../elsewhere"},
        {"name": 'words"; drop table x; --'},
        {"name": "_commits"},
        {"name": "failures"},
        {"name": "nodes"},
        {"columns": "no base64!"},
        {"columns": base64.b64encode(b"no schema").decode()},
        {"columns": "A" * ((1 << 20) + 1)},
        {"columns": as_columns(pa.schema([("prompt_key", pa.string())]))},
        {"columns": as_columns(pa.schema([("prompt_key", pa.int64())]))},
        {"key": ["prompt_key", "not there"]},
        {"more": 1},
    ],
    ids=lambda changes: f"{changes}"[:40],
)
def test_a_stored_description_is_a_strangers_file(tmp_path: Path, changes: dict[str, object]) -> None:
    output = Output(tmp_path / "out", {table.name: table for table in CountWords.tables})
    output.claim(RUN, run_key(RUN))
    found = damaged(output, **changes)
    for read in (lambda: found.tables, found.claimed, lambda: Results(found.url), lambda: verify(found.url)):
        with pytest.raises(DamageError, match=re.escape(f"{output.url}/{SWEEP}")):
            read()


def test_an_output_says_which_tables_it_has(output: Output) -> None:
    output.claim(RUN, run_key(RUN), COLUMNS)
    assert {**Output(output.url).tables} == TABLES
    for name, table in Output(output.url).tables.items():
        assert table.schema.equals(TABLES[name].schema, check_metadata=True)


def test_another_kind_of_work_is_refused_the_folder(output: Output) -> None:
    words = {table.name: table for table in CountWords.tables}
    Output(output.url, words).claim(RUN, run_key(RUN))
    assert {**output.tables} == words
    with pytest.raises(StoreError, match=r"tables\.words\.different: int32 -> \(absent\)"):
        Output(output.url).claim(RUN, run_key(RUN))


def test_tables_that_cannot_be_described_are_refused(output: Output) -> None:
    nameless = replace(CountWords.tables[0], name="My Words")
    for tables in ((nameless, TABLES["failures"]), (CountWords.tables[0],)):
        with pytest.raises(StoreError, match="cannot be an output with these tables"):
            Output(output.url, {table.name: table for table in tables}).claim(RUN, run_key(RUN))
    assert not output.folder.exists(SWEEP)


def test_outputs_inside_an_output_are_found_by_their_claims(output: Output) -> None:
    output.claim(RUN, run_key(RUN))
    words = {table.name: table for table in CountWords.tables}
    Output(f"{output.url}/counted", words).claim(RUN, run_key(RUN))
    Output(f"{output.url}/no-name", words).claim(RUN, run_key(RUN))
    output.folder.write("notes/page.txt", b"no output")
    assert {name: {**inner.tables} for name, inner in output.inner().items()} == {"counted": words}
    assert Results(output.url).tables == [*TABLES, "words", "counted_failures"]
    assert [part.name for part in verify(output.url).parts] == ["sweep", "counted"]
