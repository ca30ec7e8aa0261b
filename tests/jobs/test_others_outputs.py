"""Outputs that somebody else wrote: nothing in them makes a command read files outside of the folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.store.output import Output
from tests.support.commands import Command
from tests.support.filled import fill

SECRET = "the-secret-of-another-folder"

ZERO = "../../../../../../../../../../dev/zero"

Forge = Callable[[Output], None]


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """Three shards, and beside them a folder with a table of graphs that is nobody's business."""
    made = fill(Output(tmp_path / "out"))
    rows = made.dataset("graphs").to_table()
    secret = rows.set_column(rows.schema.get_field_index("text"), "text", [[SECRET] * rows.num_rows])
    for folder in ("secret", "home/graphs"):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(secret.cast(rows.schema), tmp_path / folder / "s.parquet")
    return made


def marker_naming(table: str, path: str) -> Forge:
    """Let the marker of the shard that is not published name another file."""

    def forge(output: Output) -> None:
        (waiting,) = [marker for marker in output.committed() if not _is_published(output, marker.files)]
        file = Path(output.url, "_commits", f"{waiting.shard}.json")
        marker = json.loads(file.read_text())
        marker["files"][table]["path"] = path
        file.write_text(json.dumps(marker))

    return forge


def _is_published(output: Output, files: dict) -> bool:
    return files["graphs"].path in output.stored.logs()["graphs"].added


def log_naming(path: str) -> Forge:
    """Let the log of `graphs` name another file beside its own."""

    def forge(output: Output) -> None:
        (file,) = Path(output.url, "graphs/_delta_log").glob("*.json")
        lines = file.read_text().splitlines()
        add = next(json.loads(line) for line in lines if '"add"' in line)
        add["add"]["path"] = path
        file.write_text("\n".join([*lines, json.dumps(add)]))

    return forge


def link_instead(name: str, target: str) -> Forge:
    """Put a link in the place of a file or folder; `*` stands for its name."""

    def forge(output: Output) -> None:
        found = next(iter(sorted(Path(output.url).glob(name))))
        found.rename(Path(output.url).parent / "moved-away")
        found.symlink_to(target if target.startswith("/") else Path(output.url).parent / target)

    return forge


def manifest_naming(path: str) -> Forge:
    """Let a compaction's manifest name another file."""

    def forge(output: Output) -> None:
        output.compact()
        (file,) = Path(output.url, "_compactions").glob("*.json")
        manifest = json.loads(file.read_text())
        manifest["projections"]["edges_by_source"][0]["path"] = path
        file.write_text(json.dumps(manifest))

    return forge


def pipe_instead(name: str) -> Forge:
    """Put a pipe, at which a reader waits for ever, in the place of a file."""

    def forge(output: Output) -> None:
        found = next(iter(sorted(Path(output.url).glob(name))))
        found.unlink()
        os.mkfifo(found)

    return forge


FORGERIES = {
    "log": log_naming("../../secret/s.parquet"),
    "log, escaped": log_naming("%2e%2e/%2e%2e/secret/s.parquet"),
    "log, absolute": log_naming("/etc/passwd"),
    "marker": marker_naming("graphs", "../secret/s.parquet"),
    "marker, pattern": marker_naming("graphs", "../h*/graphs/*.parquet"),
    "marker, pattern inside": marker_naming("graphs", "graphs/_data/*.parq"),
    "marker, other table": marker_naming("graphs", "nodes/_data/s.parq"),
    "marker, device": marker_naming("nodes", ZERO),
    "manifest": manifest_naming("../secret/s.parquet"),
    "link to a file": link_instead("graphs/_data/*.parq", "secret/s.parquet"),
    "link to a folder": link_instead("graphs/_data", "secret"),
    "link to a table": link_instead("graphs", "home/graphs"),
    "link to a device": link_instead("nodes/_data/*.parq", "/dev/zero"),
    "metadata is a device": link_instead("_sweep.json", "/dev/zero"),
    "log is a device": link_instead("nodes/_delta_log/*.json", "/dev/zero"),
    "pipe": pipe_instead("graphs/_data/*.parq"),
    "metadata is a pipe": pipe_instead("_sweep.json"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_nothing_outside_is_read(output: Output, tmp_path: Path, here: Command, forgery: str) -> None:
    FORGERIES[forgery](output)
    asked = here("query", output.url, "select text, n.* from graphs left join nodes n using (prompt_key)")
    exported = here(
        "export", output.url, "--where", "true", "--features", "none", "--output", tmp_path / "exported"
    )
    aggregated = here("aggregate", output.url)
    for done in (asked, exported, aggregated):
        assert done.returncode == 2, done.stdout
        assert done.stderr.startswith("error: ")
        assert SECRET not in done.stdout + done.stderr
    assert not any(SECRET in file.read_text() for file in tmp_path.glob("exported/*"))
    verified = here("verify", output.url)
    assert verified.returncode in (1, 2), "sound"
    assert "Traceback" not in verified.stderr


def test_an_aggregates_manifest_names_its_own_files(output: Output, here: Command) -> None:
    result = Path(output.url, "_aggregates/stats-0123456789abcdef.json")
    result.parent.mkdir()
    file = {"path": "../secret/s.parquet", "rows": 4, "bytes": 1, "checksum": "xxh3-128:0"}
    now = "2026-01-01T00:00:00Z"
    manifest = {"identity": {}, "files": {"feature_stats": [file]}, "info": {}, "created": now, "shown": now}
    result.write_text(json.dumps(manifest))
    done = here("query", output.url, "select * from feature_stats")
    assert done.returncode == 2
    assert "is not the path of a file of rows" in done.stderr
    assert here("verify", output.url).returncode == 1


def test_a_folder_whose_name_is_a_pattern_is_read_itself(tmp_path: Path, here: Command) -> None:
    fill(Output(tmp_path / "out1"))
    output = fill(Output(tmp_path / "out[1]"))
    for name in Path(tmp_path, "out1").rglob("*.parq"):
        name.unlink()
    done = here("query", output.url, "select count(*) as n from graphs", "--format", "csv")
    assert done.stdout.split() == ["n", "6"], done.stderr


def test_an_output_behind_a_link_is_read(output: Output, tmp_path: Path, here: Command) -> None:
    (tmp_path / "link").symlink_to(output.url)
    data = Path(output.url, "edges/_data")
    data.rename(Path(output.url, "edges/elsewhere"))
    data.symlink_to("elsewhere")
    assert here("query", tmp_path / "link", "select * from edges").returncode == 0
    assert here("verify", tmp_path / "link").returncode == 0
