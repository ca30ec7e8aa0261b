"""The folder that a job takes along to a cluster: these sources, the configuration, and its local inputs.

Only what is needed is put in, so nothing travels by accident: of a model's or dictionary's folder the files
that are read, nothing with a hidden name (`.env`, `.git`), and nothing that a link brings in from outside.
Ray sends the folder to every machine and starts processes in it, so that a relative path means the same
there as here; equal folders are sent once. A path that is neither shipped nor on all machines is refused
here, in a second, rather than by each worker after the model's download.
"""

from __future__ import annotations

import glob
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

import pipeline
from pipeline.builtin import NAMES
from pipeline.errors import ConfigurationError
from pipeline.hub import Neurons, is_pattern, local_path, read_files
from pipeline.submission.kinds import Input, JobConfig, inputs_of, kind_of, with_paths
from pipeline.sweep.prompts import builder_of

ROOT = Path(pipeline.__file__).parents[1]

SOURCES = ("jobs", "pipeline", "schemas")
"""This project's packages, folders of `ROOT`."""

STAY = (
    ".*",
    "__pycache__",
    "pipeline/benchmark",
    "pipeline/demo/*.py",
    "pipeline/demo/corpus",
    "pipeline/demo/dictionary.yaml",
    "pipeline/demo/facts",
    "pipeline/demo/files/card.*",
    "pipeline/demo/measurement",
    "pipeline/demo/prompts",
    "pipeline/english/*.py",
    "pipeline/english/dictionary.yaml",
    "pipeline/english/files/card.*",
    "pipeline/english/files/glosses.parquet",
    "pipeline/english/glosses",
    "pipeline/submission",
    "jobs/bench.py",
    "jobs/schedules",
    "jobs/submit.py",
    "jobs/_stages.py",
    "jobs/train_demo.py",
    "jobs/train_english.py",
)
"""Patterns of paths in them that no worker needs: how the built-in models were trained and measured, and the
commands that do it."""

MOST_BYTES = 500 << 20
"""Ray passes folders through the head's memory and takes no larger ones."""


@dataclass(frozen=True)
class Mounts:
    """Folders of this machine, as the cluster sees them."""

    here: Path
    """Folder from which the user speaks: relative paths start there, and what lies in it can be shipped."""

    shared: tuple[Path, ...] = ()
    """Folders that all machines have under the same path."""

    def has(self, path: Path) -> bool:
        """Tell if all machines see this path."""
        return any(path.is_relative_to(folder) for folder in self.shared)


@dataclass(frozen=True)
class JobPackage:
    """A sweep or a training, as this machine has it, to be packed for a cluster."""

    config: JobConfig
    mounts: Mounts
    with_sources: bool = True
    """True if this project travels too; False if all machines have it installed."""

    def pack(self, folder: Path) -> JobConfig:
        """Fill a folder with what the job needs; return the configuration as the job reads it.

        Raises:
            ConfigurationError: it names a path that the cluster cannot reach, or too large a one.

        """
        if self.with_sources:
            for name in SOURCES:
                shutil.copytree(ROOT / name, folder / name, ignore=_staying)
        there = _moved(self.config, self.mounts, folder)
        _refuse_large(folder)
        text = yaml.safe_dump(there.model_dump(mode="json", exclude_defaults=True), sort_keys=False)
        (folder / kind_of(self.config).file).write_text(text)
        return there


def _staying(folder: str, names: list[str]) -> list[str]:
    """Return the names in a folder of `ROOT` that are left out."""
    inside = Path(folder).relative_to(ROOT)
    return [name for name in names if any((inside / name).match(pattern) for pattern in STAY)]


def _moved(config: JobConfig, mounts: Mounts, folder: Path) -> JobConfig:
    """Put local inputs into the folder, and name every path as the job will see it."""
    there = {one.key: _input(one, mounts, folder) for one in inputs_of(config)}
    return with_paths(config, there, _output(config.output, mounts))


def _input(named: Input, mounts: Mounts, folder: Path) -> str:
    path = _local_path(named, mounts.here)
    if path is None:
        return named.value
    if mounts.has(path):
        return str(path)
    if not path.is_relative_to(mounts.here):
        raise ConfigurationError(
            f"{named.key} {named.value!r} lies outside {mounts.here}, and only files inside it can be "
            "shipped: move it there, or to the Hugging Face Hub; if all machines of the cluster have it "
            "under this path, name its folder with --shared."
        )
    inside = path.relative_to(mounts.here)
    _ship(named, mounts.here, str(inside), folder)
    return str(inside)


def _local_path(named: Input, here: Path) -> Path | None:
    """Return where something local lies; None for a name of the hub, a URL, or what is built in."""
    value, kind = named.value, named.kind
    if value in NAMES or "://" in value or (kind == "transcoders" and Neurons.named(value)):
        return None
    is_local = (builder_of(value) if kind == "prompts" else local_path(value, here)) is not None
    return Path(os.path.normpath(here / Path(value).expanduser())) if is_local else None


def _ship(named: Input, here: Path, pattern: str, folder: Path) -> None:
    """Copy what a path, or a pattern of paths, stands for to the same place in the folder."""
    key = named.key
    if named.kind == "transcoders" and is_pattern(pattern):
        found = [str(path.relative_to(here)) for path in read_files(here / pattern)]
    else:
        found = glob.glob(pattern, root_dir=here, recursive=True)
    if not found:
        raise ConfigurationError(f"{key} {named.value!r} does not exist (looked in {here}): check the path.")
    for path in (here / name for name in found):
        if path.is_dir():
            _refuse_linked_folders(key, path)
        for file in read_files(path) if path.is_dir() else [path]:
            _refuse_link_outside(key, file, here)
            copy = folder / file.relative_to(here)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def _refuse_linked_folders(key: str, folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_symlink() and path.is_dir():
            raise ConfigurationError(
                f"{key}: {path} is a link to a folder, and only links to files are followed: remove it, or "
                "put the folder itself there; if all machines have it under this path, name it with --shared."
            )


def _refuse_link_outside(key: str, file: Path, here: Path) -> None:
    """Refuse a link to what is not offered; the Hub's cache links each file of a commit to its blob."""
    target, base = file.resolve(), here.resolve()
    if target == base / file.relative_to(here) or _is_blob(target, file.parent.resolve()):
        return
    if not target.is_relative_to(base) or any(p.startswith(".") for p in target.relative_to(base).parts):
        raise ConfigurationError(
            f"{key}: {file} is a link to {target}, which is hidden or outside {here}, and only what lies "
            "there for all to see can be shipped: put the file itself there, or name its folder with "
            "--shared if all machines have it."
        )


def _is_blob(target: Path, folder: Path) -> bool:
    """Tell if a file of the Hub's cache is what a commit of the same repository links to."""
    from huggingface_hub.constants import HF_HUB_CACHE

    repository = target.parent.parent
    return (
        target.parent.name == "blobs"
        and repository.parent == Path(HF_HUB_CACHE).resolve()
        and folder.is_relative_to(repository / "snapshots")
    )


def _output(value: str, mounts: Mounts) -> str:
    if "://" in value and not value.startswith("file://"):
        return value
    path = Path(os.path.normpath(mounts.here / Path(value.removeprefix("file://")).expanduser()))
    if not mounts.has(path):
        raise ConfigurationError(
            f"output {value!r} is a folder of this machine, where the cluster cannot write: give an s3:// "
            "URL; or, if all machines have that folder under this path, name it or one above with --shared."
        )
    return str(path)


def _refuse_large(folder: Path) -> None:
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    if sum(sizes.values()) > MOST_BYTES:
        largest = max(sizes, key=sizes.__getitem__)
        raise ConfigurationError(
            f"the job would ship {sum(sizes.values()) >> 20:,} MB, and "
            f"{largest.relative_to(folder)} alone has {sizes[largest] >> 20:,} MB; Ray takes at most "
            f"{MOST_BYTES >> 20} MB: put it on the Hugging Face Hub, on S3 (prompts, text, dictionaries), or "
            "into a folder that all machines mount, named with --shared."
        )
