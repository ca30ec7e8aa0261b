"""What a job takes along, and what is refused because the cluster could not reach it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.builtin import FILES
from pipeline.errors import ConfigurationError
from pipeline.submission import working_dir as package
from pipeline.submission.working_dir import JobPackage, Mounts
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.sweep_file import load_sweep_file
from pipeline.training.config import DICTIONARY_FILE, DictionaryConfig
from tests.support.hub_cache import HubCache


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder of a user, with inputs in it and things that nobody wants to send."""
    here = tmp_path / "here"
    for name in (
        "models/tiny/config.json",
        "models/tiny/deep/model.safetensors",
        "data/a.jsonl",
        "data/b.jsonl",
    ):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(name)
    (here / ".env").write_text("AWS_SECRET_ACCESS_KEY=canary")
    (tmp_path / "elsewhere").mkdir()
    return here


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def sweep(**changes: Any) -> SweepConfig:
    values = {"model": "demo", "transcoders": "demo", "prompts": "demo", "output": "s3://bucket/sweep"}
    return SweepConfig.model_validate(values | changes)


def dictionary(**changes: Any) -> DictionaryConfig:
    values = {
        "model": "demo",
        "features": 64,
        "k": 4,
        "text": {"source": "data/*.jsonl", "held_out": 0.2},
        "tokens": 100_000,
        "output": "s3://bucket/mine",
    }
    return DictionaryConfig.model_validate(values | changes)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_inputs_below_the_folder_travel_under_their_names(here: Path, folder: Path) -> None:
    config = sweep(model="./models/tiny", transcoders=str(here / "models/tiny"), prompts="data/*.jsonl")
    there = JobPackage(config, Mounts(here), with_sources=False).pack(folder)
    inputs = {"models/tiny/config.json", "models/tiny/deep/model.safetensors", "data/a.jsonl", "data/b.jsonl"}
    assert files(folder) == {*inputs, "sweep.yaml"}
    assert (there.model, there.transcoders, there.prompts.source) == (
        "models/tiny",
        "models/tiny",
        "data/*.jsonl",
    )
    assert there.output == config.output


def test_the_file_that_travels_says_what_was_said(here: Path, folder: Path) -> None:
    changes = {
        "attribution": {"tolerance": 0.01, "targets": ["w1"]},
        "workers": {"replicas": 3},
        "shard_size": 5,
    }
    config = sweep(prompts={"source": "data/a.jsonl", "columns": ["family"], "limit": 7}, **changes)
    JobPackage(config, Mounts(here), with_sources=False).pack(folder)
    assert load_sweep_file(folder / "sweep.yaml") == config


def test_sources_travel_and_nothing_else_of_a_checkout(here: Path, folder: Path) -> None:
    JobPackage(sweep(), Mounts(here)).pack(folder)
    sent = files(folder)
    assert {"jobs/run.py", "pipeline/runtime/driver.py", "schemas/sweep/graphs.py"} <= sent
    assert "pipeline/demo/files/model/model.safetensors" in sent
    assert {name.partition("/")[0] for name in sent} == {"jobs", "pipeline", "schemas", "sweep.yaml"}
    assert not [name for name in sent if "__pycache__" in name]


def test_what_no_worker_needs_stays_at_home(here: Path, folder: Path) -> None:
    JobPackage(sweep(), Mounts(here)).pack(folder)
    demo = {
        name.removeprefix("pipeline/demo/") for name in files(folder) if name.startswith("pipeline/demo/")
    }
    assert demo == {
        "sweep.yaml",
        *(f"files/{path}" for path in files(Path(FILES)) if not path.startswith("card.")),
    }
    assert not (folder / "pipeline/benchmark").exists()


def test_what_is_sent_runs_a_sweep(here: Path, folder: Path) -> None:
    """All that the job's process and its workers import is there; nothing comes from this checkout."""
    JobPackage(sweep(), Mounts(here)).pack(folder)
    code = (
        "import jobs.run, pipeline.sweep.run, pipeline.sweep.attribution_work, pipeline.sweep.engine\n"
        "import pipeline.builtin as builtin, pathlib\n"
        "assert pathlib.Path(builtin.MODEL).is_relative_to(pathlib.Path.cwd()), builtin.MODEL\n"
        "assert pathlib.Path(builtin.MODEL, 'config.json').exists()\n"
        "assert pathlib.Path(builtin.PROMPTS).exists()\n"
        "from pipeline import ReplacementModel\n"
        "ReplacementModel.from_pretrained('demo', 'demo', device='cpu')"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_training_takes_model_text_and_start_along(here: Path, folder: Path) -> None:
    config = dictionary(model="./models/tiny", start=str(here / "models/tiny"), workers={"replicas": 3})
    there = JobPackage(config, Mounts(here), with_sources=False).pack(folder)
    inputs = {"models/tiny/config.json", "models/tiny/deep/model.safetensors", "data/a.jsonl", "data/b.jsonl"}
    assert files(folder) == {*inputs, "dictionary.yaml"}
    values, lines = DICTIONARY_FILE.read(str(folder / "dictionary.yaml"))
    assert DICTIONARY_FILE.check(values, "dictionary.yaml", lines) == there
    assert there == config.model_copy(update={"model": "models/tiny", "start": "models/tiny"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "../elsewhere"}, r"start '\.\./elsewhere' lies outside"),
        ({"text": "data/c.jsonl"}, r"text 'data/c\.jsonl' does not exist"),
        ({"output": "dictionaries/mine"}, "output 'dictionaries/mine' is a folder of this machine"),
    ],
)
def test_what_the_cluster_cannot_reach_of_a_training_is_named(
    here: Path, folder: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        JobPackage(dictionary(**changes), Mounts(here), with_sources=False).pack(folder)


def test_what_is_sent_trains_a_dictionary(here: Path, folder: Path) -> None:
    JobPackage(dictionary(text="s3://bucket/text.jsonl"), Mounts(here)).pack(folder)
    code = "import jobs.train, pipeline.training.distributed.run, pipeline.training.distributed.work"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_names_of_the_hub_and_urls_stay(here: Path, folder: Path) -> None:
    config = sweep(
        model="google/gemma-2-2b@main", transcoders="mntss/set", prompts="s3://bucket/prompts.jsonl"
    )
    assert JobPackage(config, Mounts(here), with_sources=False).pack(folder) == config


def test_what_all_machines_have_is_named_absolutely(here: Path, folder: Path) -> None:
    config = sweep(model="models/tiny", prompts="data/*.jsonl", output="../elsewhere/out")
    there = JobPackage(config, Mounts(here, (here.parent,)), with_sources=False).pack(folder)
    assert there.model == str(here / "models/tiny")
    assert there.prompts.source == str(here / "data/*.jsonl")
    assert there.output == str(here.parent / "elsewhere/out")
    assert files(folder) == {"sweep.yaml"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "../elsewhere"}, r"model '\.\./elsewhere' lies outside .*here, .* --shared"),
        ({"transcoders": "/mnt/nothing"}, "transcoders '/mnt/nothing' lies outside"),
        ({"prompts": "../prompts.jsonl"}, r"prompts '\.\./prompts\.jsonl' lies outside"),
        ({"prompts": "data/c.jsonl"}, r"prompts 'data/c\.jsonl' does not exist \(looked in .*here\)"),
        ({"model": "./models/none"}, r"model '\./models/none' does not exist"),
        ({"output": "runs/out"}, "output 'runs/out' is a folder of this machine.*s3://"),
        ({"output": "file:///runs/out"}, "output 'file:///runs/out' is a folder of this machine"),
    ],
)
def test_what_the_cluster_cannot_reach_is_named(
    here: Path, folder: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        JobPackage(sweep(**changes), Mounts(here), with_sources=False).pack(folder)


def test_a_shared_folder_is_no_prefix_of_letters(here: Path) -> None:
    mounts = Mounts(here, (Path("/mnt/data"),))
    assert mounts.has(Path("/mnt/data/model"))
    assert not mounts.has(Path("/mnt/data2/model"))


def test_too_large_a_load_is_named(here: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "MOST_BYTES", 3 << 20)
    (here / "models/tiny/model.safetensors").write_bytes(bytes(5 << 20))
    message = r"5 MB, .*models/tiny/model\.safetensors .*5 MB; .* 3 MB"
    with pytest.raises(ConfigurationError, match=message):
        JobPackage(sweep(model="models/tiny"), Mounts(here), with_sources=False).pack(folder)


def test_only_what_is_read_of_a_folder_travels(here: Path, folder: Path) -> None:
    model = here / "models/tiny"
    read = {"tokenizer.model", "merges.txt", "chat_template.jinja", "qwen.tiktoken", "deep/layer_0.npz"}
    other = {
        "README.md",
        "pytorch_model.bin",
        "id_rsa",
        ".env",
        ".git/config",
        ".git/a.json",
        ".x/config.json",
    }
    for name in read | other:
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_text(name)
    JobPackage(sweep(model="models/tiny"), Mounts(here), with_sources=False).pack(folder)
    sent = {"config.json", "deep/model.safetensors"} | read
    assert files(folder) == {"sweep.yaml"} | {f"models/tiny/{name}" for name in sent}


def test_of_a_pattern_of_transcoders_only_the_chosen_files_travel(here: Path, folder: Path) -> None:
    for name in ("layer_0_small", "layer_1_small", "layer_0_big"):
        (here / "set" / name).mkdir(parents=True)
        (here / "set" / name / "params.safetensors").write_bytes(b"")
        (here / "set" / name / "config.json").write_text("{}")
    config = sweep(transcoders="set/layer_{layer}_small")
    there = JobPackage(config, Mounts(here), with_sources=False).pack(folder)
    assert there.transcoders == "set/layer_{layer}_small"
    shipped = {path.parent.name for path in (folder / "set").rglob("*.*")}
    assert shipped == {"layer_0_small", "layer_1_small"}


def test_this_folder_as_a_model_takes_no_secret_along(here: Path, folder: Path) -> None:
    JobPackage(sweep(model="."), Mounts(here), with_sources=False).pack(folder)
    assert not [path for path in folder.rglob("*") if path.is_file() and "canary" in path.read_text()]


@pytest.mark.parametrize("link", ["tokenizer.json", "deep", "deep/more", "../tiny"])
@pytest.mark.parametrize("target", ["outside", ".hidden"])
def test_a_link_that_leads_out_is_refused(here: Path, folder: Path, link: str, target: str) -> None:
    """A link to a file, to a folder, and the named folder itself; to outside, or to what is hidden."""
    inside = here / "models/tiny"
    secret = (here.parent / "outside") if target == "outside" else here / ".hidden"
    secret.mkdir()
    (secret / "config.json").write_text("canary")
    path = inside / link
    if path.is_dir():
        shutil.rmtree(path)
    os.symlink(secret if path.suffix == "" else secret / "config.json", Path(os.path.normpath(path)))
    with pytest.raises(ConfigurationError, match=r"models/tiny.* is a link to"):
        JobPackage(sweep(model="models/tiny"), Mounts(here), with_sources=False).pack(folder)
    assert not [sent for sent in folder.rglob("*") if sent.is_file() and "canary" in sent.read_text()]


def test_prompts_that_are_a_link_outside_are_refused(here: Path, folder: Path) -> None:
    (here.parent / "elsewhere/secret").write_text("canary")
    (here / "data/c.jsonl").symlink_to(here.parent / "elsewhere/secret")
    with pytest.raises(ConfigurationError, match=r"data/c\.jsonl is a link to"):
        JobPackage(sweep(prompts="data/*.jsonl"), Mounts(here), with_sources=False).pack(folder)


def test_a_link_inside_is_followed(here: Path, folder: Path) -> None:
    (here / "models/tiny/tokenizer.json").symlink_to(here / "data/a.jsonl")
    JobPackage(sweep(model="models/tiny"), Mounts(here), with_sources=False).pack(folder)
    assert (folder / "models/tiny/tokenizer.json").read_text() == "data/a.jsonl"


def test_a_commit_of_the_hubs_cache_travels(here: Path, folder: Path, hub_cache: HubCache) -> None:
    """As `ln -s ~/.cache/huggingface/hub/models--x--y/snapshots/COMMIT model` makes it."""
    repository = hub_cache.folder / "models--x--y"
    (repository / "blobs").mkdir(parents=True)
    (repository / "snapshots/abc").mkdir(parents=True)
    (repository / "blobs/1234").write_text("weights")
    (repository / "snapshots/abc/config.json").symlink_to("../../blobs/1234")
    (here / "model").symlink_to(repository / "snapshots/abc")
    JobPackage(sweep(model="model"), Mounts(here), with_sources=False).pack(folder)
    assert (folder / "model/config.json").read_text() == "weights"
    (here / "models/tiny/tokenizer.json").symlink_to(repository / "blobs/1234")
    with pytest.raises(ConfigurationError, match="is a link to"):
        JobPackage(sweep(model="models/tiny"), Mounts(here), with_sources=False).pack(folder)
