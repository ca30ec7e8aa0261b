"""Names and references, and what the hub is asked for; the hub itself is never reached."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from pipeline.errors import TranscoderError
from pipeline.transcoders import source
from pipeline.transcoders.load import load_transcoders
from tests.support import written_formats


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Stand in for the hub: `tmp_path/hub/org/repo` is a repository, and what was asked for is noted."""
    asked = []

    def snapshot_download(repository, revision=None, allow_patterns=None, ignore_patterns=None):
        asked.append((repository, revision, tuple(allow_patterns)))
        folder = tmp_path / "hub" / repository
        if not folder.is_dir():
            raise FileNotFoundError(f"404 Client Error: {repository}\nand a long page")
        return str(folder)

    def hf_hub_download(repository, filename, revision=None):
        asked.append((repository, revision, filename))
        return str(Path(snapshot_download(repository, revision, ())) / filename)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    return asked


def test_a_repository_is_fetched_at_its_revision(hub, tmp_path):
    written_formats.circuit_tracer_plt(tmp_path / "hub/org/repo")
    assert load_transcoders("org/repo@v2").n_layers == 3
    repository, revision, patterns = hub[0]
    assert (repository, revision) == ("org/repo", "v2")
    assert {"*.safetensors", "*.npz", "*config.yaml"} <= set(patterns)


def test_of_a_repositorys_folder_only_that_is_fetched(hub, tmp_path):
    written_formats.gemma_scope_2_clt(tmp_path / "hub/org/repo/clt/width_16k")
    assert load_transcoders("org/repo/clt/width_16k@main").n_layers == 3
    assert all(pattern.startswith("clt/width_16k/") for pattern in hub[0][2])


def test_files_in_other_repositories_are_fetched_at_theirs(hub, tmp_path):
    files = written_formats.gemma_scope(tmp_path / "hub/google/scope").folder
    paths = sorted(path.relative_to(files).as_posix() for path in files.rglob("params.npz"))
    written_formats.config(
        tmp_path / "set",
        model_kind="transcoder_set",
        feature_input_hook="ln2.hook_normalized",
        feature_output_hook="hook_mlp_out",
        transcoders=[f"hf://google/scope/{path}?revision=abc" for path in paths],
    )
    assert load_transcoders(str(tmp_path / "set")).n_layers == 3
    downloads = sorted(asked for asked in hub if isinstance(asked[2], str))
    assert downloads == [("google/scope", "abc", path) for path in paths]


def test_what_the_hub_does_not_have_is_said_in_a_line(hub):
    with pytest.raises(TranscoderError, match=r"FileNotFoundError: 404 Client Error: org/none\)"):
        load_transcoders("org/none")


def test_a_folder_that_the_repository_does_not_have(hub, tmp_path):
    written_formats.circuit_tracer_plt(tmp_path / "hub/org/repo")
    with pytest.raises(TranscoderError, match="has no folder 'other'"):
        load_transcoders("org/repo/other")


def test_a_reference_to_a_whole_repository_is_no_file(tmp_path):
    with pytest.raises(TranscoderError, match="'org/repo' is a whole repository"):
        source.files(["hf://org/repo"], tmp_path, {})


@pytest.mark.parametrize("name", ["./none", "~/none-of-this", "/none/of/this"])
def test_a_path_that_does_not_exist_is_not_asked_of_the_hub(name, hub):
    with pytest.raises(TranscoderError, match=f"{name!r} not found"):
        load_transcoders(name)
    assert hub == []
