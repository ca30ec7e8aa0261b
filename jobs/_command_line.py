"""Parse every command's options alike: help that wraps, each default said once, sweep keys as options.

A field's docstring is its help. Where it says `(default: ...)` itself, nothing is added to that.
"""

from __future__ import annotations

import ast
import inspect
import shutil
import textwrap
import types
from collections.abc import Mapping
from dataclasses import MISSING, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    NotRequired,
    TypedDict,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

if TYPE_CHECKING:
    from pydantic import BaseModel

Parsed = TypeVar("Parsed")

WIDEST = 100
"""Most characters in a line of prose, however wide the terminal is."""

METAVARS = {str: "STR", int: "INT", float: "FLOAT", Path: "PATH"}

HELP = ConstructorRegistry()
"""Constructors of dataclasses and configurations, with their fields' docstrings as help."""


def parse(kind: type[Parsed], argv: list[str] | None, command: str, description: str | None) -> Parsed:
    """Parse a command line.

    Args:
        kind: dataclass of the command's arguments.
        argv: the words after the command's name; by default those of this process.
        command: the command's name.
        description: what its help says first.

    """
    prog = f"circuit-sweep {command}"
    return tyro.cli(kind, args=argv, prog=prog, description=wrapped(description or ""), registry=HELP)


def wrapped(text: str) -> str:
    """Wrap prose to the terminal, paragraph by paragraph."""
    width = min(WIDEST, shutil.get_terminal_size().columns - 1)
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    # Indented, since tyro joins lines that begin with a letter.
    return "\n\n".join(textwrap.fill(p, width, initial_indent=" ", subsequent_indent=" ") for p in paragraphs)


def options_of(section: type[BaseModel]) -> Any:
    """Return a type whose values are what the command line says of a configuration, and nothing else."""
    kinds = get_type_hints(section, include_extras=True)
    keys: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        text = " ".join((field.description or "").split())
        if (inner := inner_section(field.annotation)) is not None:
            keys[name] = Annotated[options_of(inner), tyro.conf.arg(help=text)]
            continue
        silent = field.is_required() or field.default in (None, ()) or "default: " in text
        hint = "" if silent else f"(default: {field.default})"
        option = tyro.conf.arg(help=text, help_behavior_hint=hint, metavar=_metavar(kinds[name]))
        keys[name] = NotRequired[Annotated[_of_one_word(kinds[name]), option]]
    return TypedDict(section.__name__, keys)


def _of_one_word(kind: Any) -> Any:
    """Return text for a mapping, which the command line takes as the sweep file writes it."""
    return str if any(get_origin(member) is dict for member in get_args(kind)) else kind


def inner_section(kind: Any) -> type[BaseModel] | None:
    """Return the configuration that a key holds, if it holds one."""
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return next((m for m in members if isinstance(m, type) and hasattr(m, "model_fields")), None)


@HELP.struct_rule
def _documented(info: StructTypeInfo) -> StructConstructorSpec | None:
    kind = info.type
    if not isinstance(kind, type) or not (is_dataclass(kind) or hasattr(kind, "model_fields")):
        return None
    given = info.default if isinstance(info.default, kind) else None
    kinds = get_type_hints(kind, include_extras=True)
    texts = _docstrings(kind)
    fields = []
    for name, default in _defaults(kind).items():
        text = texts.get(name, "")
        hint = "" if default in (None, ()) or "default: " in text else None
        option = tyro.conf.arg(help_behavior_hint=hint, metavar=_metavar(kinds[name]))
        type_ = Annotated[kinds[name], option]
        if default is False and is_dataclass(kind):
            # `--no-FLAG` is for what a file may have set: keys of a configuration.
            type_ = Annotated[type_, tyro.conf.FlagCreatePairsOff]
        value = default if given is None else getattr(given, name)
        fields.append(StructFieldSpec(name, type_, value, text))
    return StructConstructorSpec(kind, tuple(fields))


def _defaults(kind: type) -> dict[str, Any]:
    """Return every field's default, or that it has none."""
    if (model_fields := getattr(kind, "model_fields", None)) is not None:
        return {
            name: tyro.MISSING if field.is_required() else field.get_default(call_default_factory=True)
            for name, field in model_fields.items()
        }
    found = {}
    for field in kind.__dataclass_fields__.values():
        if field.default_factory is not MISSING:
            found[field.name] = field.default_factory()
        else:
            found[field.name] = tyro.MISSING if field.default is MISSING else field.default
    return found


def _docstrings(kind: type) -> dict[str, str]:
    """Return the docstring under each field, on one line; tyro's own reading keeps the source's line ends."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if not is_dataclass(owner) and not hasattr(owner, "model_fields"):
            continue
        if owner.__module__.startswith("pydantic"):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        for field, text in pairwise(tree.body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                found[field.target.id] = " ".join(ast.literal_eval(text.value).split())
    return found


def _metavar(kind: Any) -> str | None:
    """Name the value of an option that may be left out, without the `None` that nobody types."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) not in (Union, types.UnionType):
        return None
    members = [get_args(m)[0] if get_origin(m) is Annotated else m for m in get_args(kind)]
    members = [member for member in members if member is not type(None)]
    return METAVARS.get(members[0]) if len(members) == 1 else None


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the command line says, without the sections of which it says nothing."""
    found = {name: given(value) if isinstance(value, dict) else value for name, value in options.items()}
    return {name: value for name, value in found.items() if value != {}}
