from __future__ import annotations

import errno
import os
import pickle

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from pyarrow.fs import S3FileSystem as ArrowS3

from pipeline.errors import StoreError
from pipeline.store.commits.keys import shard_id
from pipeline.store.files.data_folder import DataFolder
from pipeline.store.files.s3 import Endpoint, S3Folder
from pipeline.store.output import Output, open_folder
from pipeline.store.rows.graphs import graph_tables
from tests.support.buckets import forget_clients
from tests.support.random_graphs import random_prompt


@pytest.fixture
def folder(url: str) -> DataFolder:
    return open_folder(url)


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> S3Folder:
    monkeypatch.setattr("pipeline.store.files.s3.PAUSES", (0.0, 0.0))
    return S3Folder(s3_url)


def test_what_was_written_is_listed_and_read(folder: DataFolder) -> None:
    folder.write("a/one", b"1")
    folder.write("a/two", b"22")
    folder.write("a/b/deeper", b"")
    assert {entry.name: entry.bytes for entry in folder.list("a")} == {"a/one": 1, "a/two": 2}
    assert folder.read("a/two") == b"22"
    folder.delete(["a/one"])
    folder.delete(["a/one"])
    folder.delete([])
    assert [entry.name for entry in folder.list("a")] == ["a/two"]
    assert list(folder.list("nothing")) == []


def test_a_file_that_goes_while_its_folder_is_listed_is_left_out(tmp_path) -> None:
    folder = open_folder(tmp_path)
    names = [f"a/{number}" for number in range(5)]
    for name in names:
        folder.write(name, b"1")
    listing = folder.list("a")
    first = next(listing).name
    folder.delete(name for name in names if name != first)
    assert list(listing) == []


def test_many_are_read_in_the_order_of_their_names(folder: DataFolder) -> None:
    written = [f"a/{number}" for number in range(40)]
    for name in written:
        folder.write(name, name.encode() if name != "a/7" else b"")
    asked = [*written[20:], "a/nothing", *written[:20]]
    expected = [None if name == "a/nothing" else b"" if name == "a/7" else name.encode() for name in asked]
    assert list(folder.read_many(asked)) == expected
    assert list(folder.read_many([])) == []


def test_what_the_fast_client_cannot_read_the_patient_one_does(
    bucket: S3Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write("a/one", b"1")
    bucket.write("a/two", b"22")
    nobody = ArrowS3(endpoint_override="127.0.0.1:1", scheme="http", region="nowhere")
    monkeypatch.setattr(bucket, "_arrow_client", lambda: nobody)
    assert list(bucket.read_many(["a/two", "a/nothing", "a/one"])) == [b"22", None, b"1"]
    monkeypatch.setattr(bucket, "_arrow_client", raising(AssertionError("asked again")))
    assert list(bucket.read_many(["a/one"])) == [b"1"]


def test_what_the_fast_client_does_not_find_the_patient_one_looks_for(
    bucket: S3Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/one", "a/two"):
        bucket.write(name, b"1")
    read = bucket._read_by_arrow
    monkeypatch.setattr(bucket, "_read_by_arrow", lambda name: None if name == "a/two" else read(name))
    assert list(bucket.read_many(["a/one", "a/two", "a/three"])) == [b"1", b"1", None]


def test_an_endpoint_with_a_path_is_none_for_the_fast_client(
    bucket: S3Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = Endpoint("https://host.example/storage/v1/s3", None)
    monkeypatch.setattr(S3Folder, "_endpoint", endpoint)
    assert bucket._arrow_client() is None


def test_a_way_to_log_in_that_the_fast_client_does_not_know(
    bucket: S3Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write("a/one", b"1")
    monkeypatch.setattr(bucket.fs, "token", "alone")
    assert bucket._arrow_client() is None
    assert list(bucket.read_many(["a/one"])) == [b"1"]


def test_the_fast_client_does_read(bucket: S3Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.write("a/one", b"1")
    monkeypatch.setattr(bucket.fs, "cat_file", raising(AssertionError("not by this one")))
    assert list(bucket.read_many(["a/one"])) == [b"1"]


def test_only_the_first_creates(folder: DataFolder) -> None:
    assert not folder.exists("a/one")
    assert folder.create("a/one", b"first")
    assert not folder.create("a/one", b"second")
    assert folder.exists("a/one")
    assert folder.read("a/one") == b"first"
    assert [entry.name for entry in folder.list("a")] == ["a/one"]


def test_what_another_process_wrote_is_seen(folder: DataFolder, url: str) -> None:
    assert list(folder.list("a")) == []
    open_folder(url).write("a/one", b"1")
    assert [entry.name for entry in folder.list("a")] == ["a/one"]


def test_a_missing_file_is_named(folder: DataFolder) -> None:
    with pytest.raises(StoreError, match=r"cannot read .*/a/one"):
        folder.read("a/one")


def test_an_output_travels_to_other_processes(url: str) -> None:
    output = pickle.loads(pickle.dumps(Output(url)))
    prompt = random_prompt(1)
    assert output.commit(shard_id([prompt.prompt_key], -7), graph_tables(prompt))


def test_an_unfinished_create_leaves_nothing(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", raising(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    with pytest.raises(StoreError, match=r"No space left on device.*Check the path, the free space"):
        open_folder(tmp_path).create("a/one", b"1")
    monkeypatch.undo()
    assert os.listdir(tmp_path / "a") == []


def test_a_file_where_the_folder_should_be_is_named(tmp_path) -> None:
    (tmp_path / "out").write_text("not a folder")
    with pytest.raises(StoreError, match="A file stands where a folder is needed"):
        Output(tmp_path / "out").claim({}, 1)


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    monkeypatch.setattr("pathlib.Path.mkdir", raising(denied))
    with pytest.raises(
        StoreError, match=r"cannot create .*/_sweep.json: .*Permission denied.* Give this user"
    ):
        Output(tmp_path / "out").claim({}, 1)


def test_a_disk_without_hard_links_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", raising(OSError(errno.EPERM, "Operation not permitted")))
    with pytest.raises(StoreError, match="without hard links"):
        Output(tmp_path).claim({}, 1)


def test_a_store_that_we_do_not_know_is_refused() -> None:
    with pytest.raises(StoreError, match=r"gopher:// is not supported; give a local folder or s3://"):
        Output("gopher://host/runs")


def test_a_bucket_that_does_not_exist_is_named(bucket: S3Folder) -> None:
    with pytest.raises(StoreError, match=r"cannot create s3://nobody-made-this/runs/_sweep.json"):
        Output("s3://nobody-made-this/runs").claim({}, 1)


@pytest.mark.s3
def test_credentials_that_the_store_refuses_are_named(ceph_url: str, monkeypatch) -> None:
    S3Folder(ceph_url).write("a/one", b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    forget_clients()
    folder = S3Folder(ceph_url)
    for attempt in (
        lambda: Output(ceph_url).claim({}, 1),
        lambda: folder.write("a/one", b"1"),
        lambda: list(folder.read_many(["a/one"])),
        lambda: list(folder.list("a")),
    ):
        with pytest.raises(StoreError, match=r"s3://.*Give this user \(or these credentials\) the right"):
            attempt()


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "PutObject")


@pytest.mark.parametrize(
    "answer",
    [FileExistsError("exists"), OSError(errno.EINVAL, "Invalid argument"), refused("PreconditionFailed")],
    ids=["aws", "ceph", "plain"],
)
def test_however_a_store_says_exists_it_is_looked_up(
    bucket: S3Folder, monkeypatch, answer: Exception
) -> None:
    bucket.write("there", b"first")
    monkeypatch.setattr(bucket.fs, "pipe_file", raising(answer))
    assert not bucket.create("there", b"second")
    with pytest.raises(StoreError, match=r"cannot create .*/not-there"):
        bucket.create("not-there", b"second")


def test_a_conflict_without_a_winner_is_tried_again(bucket: S3Folder, monkeypatch) -> None:
    """AWS answers 409 while two writers race; the other may yet fail."""
    put, answers = bucket.fs.pipe_file, [refused("ConditionalRequestConflict")]

    def conflict_then_put(*given: object, **named: object) -> object:
        if answers:
            raise answers.pop()
        return put(*given, **named)

    monkeypatch.setattr(bucket.fs, "pipe_file", conflict_then_put)
    assert bucket.create("there", b"first")
    assert bucket.read("there") == b"first"


def test_a_store_that_cannot_be_reached_is_named(bucket: S3Folder, monkeypatch) -> None:
    monkeypatch.setattr(
        bucket.fs, "pipe_file", raising(EndpointConnectionError(endpoint_url="http://nowhere"))
    )
    with pytest.raises(
        StoreError, match=r"Could not connect.*Check the path, the free space and the connection"
    ):
        bucket.write("there", b"")


def raising(error: Exception):
    def fail(*given: object, **named: object) -> None:
        raise error

    return fail
