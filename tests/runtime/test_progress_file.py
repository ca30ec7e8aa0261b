from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from pipeline.runtime.telemetry.heartbeat import (
    PROGRESS,
    ProgressFile,
    Standing,
    WorkerStanding,
    read_standing,
)
from pipeline.store.files.local import LocalFolder

STARTED = datetime(2026, 1, 31, 2, tzinfo=UTC)


def standing(state: str = "working") -> Standing:
    worker = WorkerStanding(
        name="10.0.0.7:12",
        node="10.0.0.7",
        pid=12,
        state="working",
        shard="ab" * 16,
        prompts=32,
        prompts_done=7,
        since=STARTED,
    )
    return Standing(
        host="head",
        pid=1,
        started=STARTED,
        written=STARTED,
        state=state,
        total=100,
        passed_over=10,
        graphs=20,
        failures=1,
        left=69,
        rate=1.5,
        queued_shards=2,
        deaths=0,
        wanted_workers=1,
        workers=(worker,),
        notes=("a note",),
    )


def test_the_latest_is_written_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    folder = LocalFolder(str(tmp_path))
    assert read_standing(folder) is None
    with ProgressFile(folder, beat=0.05) as board:
        board.show(standing("starting"))
        deadline = time.monotonic() + 60
        while (found := read_standing(folder)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert found.state == "starting"
        board.show(standing("finished"))
    found = read_standing(folder)
    assert found == standing("finished").model_copy(update={"written": found.written})
    assert found.written > STARTED


def test_a_store_that_is_away_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where a folder is needed")
    with ProgressFile(LocalFolder(str(tmp_path / "file")), beat=0.01) as board:
        board.show(standing())


def test_a_form_that_is_not_ours_is_none(tmp_path: Path) -> None:
    (tmp_path / PROGRESS).write_text('{"format": 2}')
    assert read_standing(LocalFolder(str(tmp_path))) is None
