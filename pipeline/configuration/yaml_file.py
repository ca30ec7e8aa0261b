"""YAML files that hold a configuration, read to messages that a user can act on.

Every problem is reported at once, each with file and line (or as of the command line), the key, the value,
and the rule. The command line's values go over the file's first, so everything is checked once.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.configuration.section import Section
from pipeline.errors import ConfigurationError
from pipeline.untrusted import YAML_BYTES, cut, parse_yaml, read_bounded

Key = tuple[str, ...]

Read = TypeVar("Read", bound=Section)


@dataclass(frozen=True)
class ConfigurationFile(Generic[Read]):
    """A kind of file: what it holds, and how it is called in messages."""

    model: type[Read]
    """Class of the configuration."""

    noun: str
    """Name of the thing that it describes, such as `sweep`."""

    plain_values: Mapping[Key, str] = field(default_factory=dict)
    """Sections that may be a plain value, with the key that it then stands for."""

    def read(self, path: str | Path) -> tuple[dict[str, Any], dict[Key, int]]:
        """Return a file's values and the line of every key.

        Raises:
            ConfigurationError: the file cannot be read, is not YAML, or does not hold keys and values.

        """
        try:
            text = read_bounded(path, YAML_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            raise ConfigurationError(f"{self.noun} file {str(path)!r} {reason}: check the path.") from error
        try:
            values, root = parse_yaml(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or error
            raise ConfigurationError(
                f"{path}{line} is not valid YAML: {problem}. "
                "Write `key: value`, two spaces deeper inside a section."
            ) from error
        if not isinstance(values, dict):
            raise ConfigurationError(
                f"{path} must hold keys and values such as `model: demo`, not {cut(values)}."
            )
        return values, dict(_lines(root, (), str(path)))

    def check(
        self,
        values: Mapping[str, Any],
        where: str,
        lines: Mapping[Key, int] | None = None,
        options: Mapping[str, Any] | None = None,
        allow_missing: bool = False,
    ) -> Read:
        """Build the configuration from plain values.

        Args:
            values: of the file.
            where: the file's name, for messages.
            lines: the line of every key.
            options: values of the command line, which win.
            allow_missing: let keys without a default hold an empty string where nothing gives them.

        Raises:
            ConfigurationError: naming every key that is not right.

        """
        # A section whose lines are all commented out is None, and means its defaults.
        given = {
            key: value for key, value in self._merged(values, options or {}).items() if value is not None
        }
        if allow_missing:
            given = {**dict.fromkeys(self.required_keys(), ""), **given}
        origins = {key: f"{where}, line {line}" for key, line in (lines or {}).items()}
        for key, value in _values(options or {}):
            if key not in origins or not isinstance(value, Mapping):
                origins[key] = "command line"
        try:
            return self.model.model_validate(given)
        except ValidationError as error:
            messages = dict.fromkeys(self._messages(error, where, origins))
            raise ConfigurationError("\n".join(messages)) from error

    def load(self, path: str | Path) -> Read:
        """Return the configuration that a file describes.

        Raises:
            ConfigurationError: the file cannot be read, or holds something that is not right.

        """
        values, lines = self.read(path)
        return self.check(values, str(path), lines)

    def required_keys(self) -> list[str]:
        """Return the top-level keys that have no default."""
        return [name for name, field in self.model.model_fields.items() if field.is_required()]

    def _merged(
        self, values: Mapping[str, Any], options: Mapping[str, Any], above: Key = ()
    ) -> dict[str, Any]:
        """Return the file's values with those of the command line over them."""
        merged = dict(values)
        for name, option in options.items():
            key, value = (*above, name), values.get(name)
            if not isinstance(option, Mapping):
                merged[name] = option
                continue
            if value is not None and not isinstance(value, Mapping) and key in self.plain_values:
                value = {self.plain_values[key]: value}
            if value is None or isinstance(value, Mapping):  # else it is a mistake, and the check names it
                merged[name] = self._merged(value or {}, option, key)
        return merged

    def _messages(self, error: ValidationError, where: str, origins: Mapping[Key, str]) -> Iterator[str]:
        """Yield one message a key; the members of a union each report, so their rules are joined."""
        problems: dict[Key, list[dict[str, Any]]] = {}
        for problem in error.errors():
            problems.setdefault(self._key(problem["loc"], problem["type"]), []).append(dict(problem))
        for key, found in problems.items():
            yield f"{origins.get(key, where)}: {self._message(key, found)}"

    def _message(self, key: Key, found: list[dict[str, Any]]) -> str:
        name, first = ".".join(key), found[0]
        if first["type"] == "extra_forbidden":
            return f"{name} is not a key. {self._suggestion(key)}"
        if first["type"] == "missing":
            return f"{name} is missing: {self._description(key)}"
        if first["type"] == "value_error":
            return f"{name or f'the {self.noun}'} {first['msg'].removeprefix('Value error, ')}"
        if first["type"] == "model_type":
            return f"{name} is {cut(first['input'])}, but must hold keys: {', '.join(self._names_in(key))}."
        rules = " or ".join(dict.fromkeys(_rule(problem["msg"]) for problem in found))
        return f"{name} is {cut(first['input'])}, but {rules}. {self._description(key)}".rstrip()

    def _key(self, location: tuple[int | str, ...], kind: str) -> Key:
        """Keep the part of pydantic's location that a user wrote: not its union tags or list indices."""
        kept: list[str] = []
        model: type[BaseModel] | None = self.model
        for part in location:
            if model is None or (part not in model.model_fields and kind != "extra_forbidden"):
                break
            kept.append(str(part))
            model = section_of(model, str(part))
        return tuple(kept)

    def _suggestion(self, key: Key) -> str:
        names = self._names_in(key[:-1]) or list(self.model.model_fields)
        close = difflib.get_close_matches(key[-1], names, n=1, cutoff=0.5)
        if close:
            return f"Did you mean {'.'.join((*key[:-1], close[0]))}?"
        sections = self.model.model_fields
        nested = [f"{section}.{name}" for section in sections for name in self._names_in((section,))]
        close = [name for name in nested if name.split(".")[1] == key[-1]]
        if close:
            return f"Did you mean {close[0]}?"
        return f"The keys here are {', '.join(names)}."

    def _section(self, key: Key) -> type[BaseModel] | None:
        model: type[BaseModel] | None = self.model
        for part in key:
            model = section_of(model, part) if model else None
        return model

    def _names_in(self, key: Key) -> list[str]:
        """Return the keys of a section."""
        model = self._section(key)
        return list(model.model_fields) if model else []

    def _description(self, key: Key) -> str:
        model = self._section(key[:-1])
        field = model.model_fields.get(key[-1]) if model and key else None
        return " ".join((field.description or "").split()) if field else ""


def section_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Return the class behind a key that holds further keys."""
    field = model.model_fields.get(name)
    kind = field.annotation if field else None
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return next((m for m in members if isinstance(m, type) and issubclass(m, BaseModel)), None)


def _lines(node: yaml.Node, above: Key, path: str) -> Iterator[tuple[Key, int]]:
    """Yield every key's path with its line; a key given twice would silently lose its first value."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in seen:
            name = ".".join((*above, key.value))
            raise ConfigurationError(
                f"{path}, line {line}: {name} was already given in line {seen[key.value]}."
            )
        seen[key.value] = line
        yield (*above, key.value), line
        yield from _lines(value, (*above, key.value), path)


def _values(values: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    for name, value in values.items():
        yield (*above, name), value
        if isinstance(value, Mapping):
            yield from _values(value, (*above, name))


def _rule(message: str) -> str:
    return message.removeprefix("Input ").split(", unable to")[0]
