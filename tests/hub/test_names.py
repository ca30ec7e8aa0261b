"""What names mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ModelError, TranscoderError
from pipeline.hub.names import HubName, local_path, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/repo", ("org/repo", "", None)),
        ("org/repo@v1", ("org/repo", "", "v1")),
        ("org/repo/some/folder@0a1b", ("org/repo", "some/folder", "0a1b")),
        ("org/repo@refs/pr/3", ("org/repo", "", "refs/pr/3")),
        ("hf://org/repo/layer_0/params.npz", ("org/repo", "layer_0/params.npz", None)),
        ("hf://org/repo/a/b.safetensors?revision=main", ("org/repo", "a/b.safetensors", "main")),
    ],
)
def test_a_name_is_read(text, expected):
    name = HubName.parse(text, "transcoders")
    assert (name.repository, name.path, name.revision) == expected


@pytest.mark.parametrize("text", ["", "name", "org/", "/repo", "hf://org", "hf://org//file"])
def test_what_is_no_name_is_refused(text):
    with pytest.raises(TranscoderError, match="org/name"):
        HubName.parse(text, "transcoders")


@pytest.mark.parametrize("text", ["gpt2", "org/model", "org/model@v1"])
def test_a_model_is_a_whole_repository(text: str) -> None:
    name, _, revision = text.partition("@")
    assert parse(text, "model") == HubName(name, "", revision or None)


@pytest.mark.parametrize("text", ["", "org/model/folder", "org//model"])
def test_what_is_no_model_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=repr(text)):
        parse(text, "model")


@pytest.mark.parametrize("name", ["org/set", "./org/set", "org/set@1"])
def test_a_folder_that_exists_comes_before_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir(parents=True)
    assert parse(name, "transcoders") == Path(name)
    assert local_path(name, tmp_path) == tmp_path / name


def test_a_path_is_local_whether_or_not_it_exists(tmp_path: Path) -> None:
    assert local_path("./none", tmp_path) == tmp_path / "none"
    assert local_path("/none") == Path("/none")
    assert local_path("~/none") == Path.home() / "none"
    assert local_path("org/none", tmp_path) is None


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TranscoderError, match="file' not found"):
        parse(str(tmp_path / "file"), "transcoders")
