"""The folder that receives an export: which name each graph gets, and files that come whole or not at all.

Ids are anybody's words, and names are one folder's: they may be long, reserved, unlike letters, or differ in
case alone where the disk does not tell `A` from `a`. So a graph is named as its prompt only where the id is
already a name and nobody else has it; all others carry their prompt's key, and those of a second sweep of the
same prompt, where need be, their sweep's too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from xxhash import xxh3_64_hexdigest

from pipeline.errors import ConfigurationError
from pipeline.export.names import hexadecimal, identity, key_name, plain_name
from pipeline.export.size import encoded
from pipeline.untrusted import JSON_BYTES, parse_json, read_bounded

INDEX = "graph-metadata.json"

INDEX_BYTES = 1 << 30
"""Largest index that is read; a graph has about a kilobyte in it."""

RESERVED = {INDEX.removesuffix(".json"), "features"}


class ExportFolder:
    """A folder of exported graphs, new or with those of earlier calls."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._given: set[str] = set()
        """Names of this call, in one case."""

        with _explained(path):
            path.mkdir(parents=True, exist_ok=True)

    def name_for(self, prompt: dict[str, Any]) -> str:
        """Choose the name of a prompt's graph."""
        name, key = plain_name(prompt["id"]), key_name(prompt["id"], prompt["prompt_key"])
        if name is None or self._is_taken(name, prompt):
            name = f"{key}-{hexadecimal(prompt['run_key'])}" if self._is_others(key, prompt) else key
        self._given.add(name.lower())
        return name

    def _is_taken(self, name: str, prompt: dict[str, Any]) -> bool:
        return name.lower() in RESERVED | self._given or self._is_others(name, prompt)

    def _is_others(self, name: str, prompt: dict[str, Any]) -> bool:
        """Tell if a file of this name is there, not from an export of the same prompt of the same sweep."""
        here = [graph for graph in self._graphs if str(graph.get("slug")).lower() == name.lower()]
        if not here:
            return any((self.path / f"{name}{suffix}").exists() for suffix in (".json", ".graphml"))
        info = here[0].get("info") or {}
        return any(info.get(name) != value for name, value in identity(prompt).items())

    @cached_property
    def _graphs(self) -> list[dict[str, Any]]:
        """The graphs of the index."""
        index = self.path / INDEX
        if not index.is_file():
            return []
        try:
            graphs = parse_json(read_bounded(index, INDEX_BYTES))["graphs"]
            if all(isinstance(graph, dict) for graph in graphs):
                return list(graphs)
        except (OSError, ValueError, LookupError, TypeError):
            pass
        raise ConfigurationError(
            f"{index} is not the index of exported graphs: choose another folder, or move the file away."
        )

    def features_name(self, scan: str, run_key: int, claimed: datetime) -> str:
        """Choose the folder of a sweep's features: the dictionary's name, if no other sweep has it.

        A feature's document is made of one sweep's activations.

        Args:
            scan: name of the dictionary.
            run_key: the sweep's.
            claimed: time of its start, which tells sweeps of one configuration apart.

        """
        owner = {"run_key": hexadecimal(run_key), "claimed": claimed.isoformat()}
        name = scan
        if (self.path / "features" / scan).exists() and self._owner(scan) != owner:
            name = f"{scan}-{xxh3_64_hexdigest(json.dumps(owner).encode())}"
        self.write_json(f"features/{name}.json", owner)
        return name

    def _owner(self, name: str) -> Any:
        try:
            return parse_json(read_bounded(self.path / "features" / f"{name}.json", JSON_BYTES))
        except (OSError, ValueError):
            return None

    def add_to_index(self, metadata: dict[str, Any]) -> None:
        """Name a graph in the index, instead of an earlier one of its name."""
        others = [graph for graph in self._graphs if graph.get("slug") != metadata["slug"]]
        self._graphs[:] = [*others, metadata]
        self.write_json(INDEX, {"graphs": self._graphs})

    def write_json(self, name: str, document: dict[str, Any] | bytes) -> Path:
        """Write a document, or what it was encoded to."""
        data = document if isinstance(document, bytes) else encoded(document)
        return self.write(name, lambda path: path.write_bytes(data))

    def write(self, name: str, fill: Callable[[Path], object]) -> Path:
        """Let `fill` write a file, which gets its name when it is whole; a link of that name is replaced.

        Raises:
            ConfigurationError: the file cannot be written, or a link leads out of the folder.

        """
        path = self.path / name
        unfinished = path.with_name(f".{uuid4().hex}")
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to(self.path.resolve()):
                raise ConfigurationError(
                    f"{path.parent} is a link that leads out of {self.path}: choose another folder."
                )
            try:
                fill(unfinished)
                unfinished.replace(path)
            finally:
                with suppress(OSError):
                    unfinished.unlink(missing_ok=True)
        return path


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the file system says into an error for the user."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}.") from error
