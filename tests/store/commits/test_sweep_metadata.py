from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import ConfigurationError, DamageError, StoreError
from pipeline.runtime.telemetry.status import read_status
from pipeline.store.commits.keys import run_key
from pipeline.store.layout import manifest_name, marker_name
from pipeline.store.output import Output
from schemas import FORMAT

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
