"""A verification that was interrupted goes on: what was read is not read again, what changed is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import ConfigurationError
from pipeline.store.output import Output
from pipeline.store.verify import contents, verify
from tests.support.filled import RUN_KEY, commit

Overwrite = Callable[[Output, str, bytes], None]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the files whose data is read."""
    paths: list[str] = []
    for name in ("read_rows", "wrong_with"):
        real = getattr(contents, name)

        def noted(folder: object, file: object, schema: pa.Schema, real: Callable = real) -> object:
            paths.append(file.path)
            return real(folder, file, schema)

        monkeypatch.setattr(contents, name, noted)
    return paths


def interrupted(output: Output, file: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Verify until so many parts are done."""

    def advance(done: int, tasks: int) -> None:
        if done > after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(contents, "SHARDS_TOGETHER", 1)
        patch.setattr(contents, "THREADS", 1)
        with pytest.raises(KeyboardInterrupt):
            verify(output.url, advance=advance, resume=file)


def test_what_was_read_is_not_read_again(
    local: Output, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "parts"
    assert verify(local.url).sound
    whole = sorted(read)
    interrupted(local, file, monkeypatch, after=2)
    read.clear()
    report = verify(local.url, resume=file)
    assert report.sound
    assert any("2 parts" in note for note in report.parts[0].notes)
    assert 0 < len(read) < len(whole)
    assert not file.exists()
    read.clear()
    assert verify(local.url, resume=file).sound  # the next one reads everything
    assert sorted(read) == whole


def test_what_was_damaged_or_written_anew_is_read(
    local: Output, tmp_path: Path, overwrite: Overwrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "parts"
    first = next(local.committed()).files["nodes"].path
    overwrite(local, first, local.folder.read(first)[:-1])
    interrupted(local, file, monkeypatch, after=2)
    assert first in {problem.path for problem in verify(local.url, resume=file).problems}
    interrupted(local, file, monkeypatch, after=2)
    new = commit(local, range(30, 32))
    local.publish(RUN_KEY)
    (marker,) = [marker for marker in local.committed() if marker.shard == new]
    overwrite(local, marker.files["edges"].path, b"")
    assert marker.files["edges"].path in {p.path for p in verify(local.url, resume=file).problems}


def test_compacted_files_are_parts_too(
    local: Output, tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "parts"
    local.compact()
    local.vacuum()
    assert verify(local.url).sound
    whole = len(read)
    interrupted(local, file, monkeypatch, after=3)
    read.clear()
    assert verify(local.url, resume=file).sound
    assert 0 < len(read) < whole


@pytest.mark.parametrize("text", ["{}\n", '{"verified parts of": "elsewhere"}\n', "\udcff"])
def test_a_file_of_something_else_is_refused(local: Output, tmp_path: Path, text: str) -> None:
    file = tmp_path / "parts"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigurationError, match=str(file)):
        verify(local.url, resume=file)
    assert file.exists()
    with pytest.raises(ConfigurationError, match="nowhere"):
        verify(local.url, resume=tmp_path / "nowhere" / "parts")
