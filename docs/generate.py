"""Write what the documentation can take from the code: keys, columns, commands, architectures, formats.

A page holds `<!-- generated NAME -->` and `<!-- /generated -->`; what stands between them comes from the
function of that name in `PARTS`. `make docs` writes all pages and the picture again; a test tells when one is
stale.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from jobs import cli, schema
from pipeline.model.architectures import table as architectures
from pipeline.sweep import SweepConfig
from pipeline.transcoders.formats import table as formats
from schemas import (
    AGGREGATE_TABLES,
    CIRCUIT_RUN_TABLES,
    CIRCUIT_TABLES,
    DIFF_TABLES,
    HYPOTHESIS_TABLES,
    MODEL_TABLES,
    NOTE_TABLES,
    PAIR_TABLES,
    STEERING,
    TABLES,
    TRAINING,
    VALIDATION_TABLES,
    Table,
)

DOCS = Path(__file__).parent

PAGES = (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md")))

PICTURE = DOCS / "graph.svg"

BLOCK = re.compile(r"(<!-- generated ([\w-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)

BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
"""How a rule of pydantic's is said."""


def keys() -> str:
    """Return every key of a sweep file, one table a section."""
    return "\n\n".join(_section(model, name) for name, model in _sections(SweepConfig, ""))


def _sections(model: type[BaseModel], name: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield name, model
    for key, field in model.model_fields.items():
        if nested := _model(field.annotation):
            yield from _sections(nested, f"{name}.{key}".lstrip("."))


def _section(model: type[BaseModel], name: str) -> str:
    lines = [f"### `{name}`" if name else "### The sweep", ""]
    lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key, field in model.model_fields.items():
        nested = _model(field.annotation)
        kind = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
        meaning, default = _default(field.description or "", field.get_default(), field.is_required())
        if nested:
            target = f"{name}.{key}".lstrip(".").replace(".", "")
            shown, default = f"[keys](#{target})", default if field.is_required() else ""
        else:
            shown = _type(kind)
        lines.append(f"| `{key}` | {shown} | {default} | {meaning} |")
    return "\n".join(lines)


def _default(meaning: str, value: Any, required: bool) -> tuple[str, str]:
    """Take `(default: ...)` out of a meaning; where it says nothing, show the value."""
    meaning = " ".join(meaning.split())
    said = re.search(r" \(default: ((?:[^()]|\([^()]*\))*)\)", meaning)
    if said:
        return meaning.replace(said[0], ""), said[1]
    if required:
        return meaning, "**required**"
    return meaning, "none" if value is None or value == () else f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _model(kind: Any) -> type[BaseModel] | None:
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _type(kind: Any) -> str:
    """Say a type as a person who writes YAML thinks of it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return ", ".join([_type(arguments[0]), *(_bounds(rule) for rule in arguments[1:] if _bounds(rule))])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(member) for member in arguments if member is not types.NoneType)
    if origin is tuple:
        if arguments[-1] is ...:
            item = _type(arguments[0])
            return f"list of ({item})" if " or " in item else f"list of {item}"
        return f"[{', '.join(_type(member) for member in arguments)}]"
    if origin is dict:
        return "keys and values"
    return {str: "text", int: "integer", float: "number", bool: "`true` or `false`"}[kind]


def _bounds(rule: Any) -> str:
    """Say the limits that a rule, or the rules within a `Field`, set."""
    rules = [rule, *getattr(rule, "metadata", ())]
    said = [
        text.format(f"{getattr(r, key):g}") for r in rules for key, text in BOUNDS.items() if hasattr(r, key)
    ]
    return ", ".join(dict.fromkeys(said))


def _tables(tables: Mapping[str, Table]) -> Callable[[], str]:
    return lambda: "\n\n".join(schema.as_markdown(table) for table in tables.values())


def commands() -> str:
    """Return the list of commands."""
    lines = ["| command | what it does |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `{name}` | {line} |" for name, line in cli.commands().items())])


PARTS: dict[str, Callable[[], str]] = {
    "architectures": architectures,
    "commands": commands,
    "formats": formats,
    "keys": keys,
    "tables": _tables(TABLES),
    "validation-tables": _tables({n: t for n, t in VALIDATION_TABLES.items() if n not in TABLES}),
    "pair-tables": _tables({n: t for n, t in PAIR_TABLES.items() if n not in TABLES}),
    "aggregate-tables": _tables({n: t for n, t in AGGREGATE_TABLES.items() if n not in CIRCUIT_TABLES}),
    "circuit-tables": _tables(
        {n: t for n, t in (CIRCUIT_TABLES | CIRCUIT_RUN_TABLES).items() if n not in TABLES}
    ),
    "diff-tables": _tables(DIFF_TABLES),
    "hypothesis-tables": _tables(HYPOTHESIS_TABLES),
    "note-tables": _tables(NOTE_TABLES),
    "model-tables": _tables(MODEL_TABLES),
    "steering": _tables({STEERING.name: STEERING}),
    "training-table": _tables({TRAINING.name: TRAINING}),
}


def regenerated(page: str) -> str:
    """Return a page with its generated parts as the code has them now."""
    return BLOCK.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[3]}", page)


def main() -> None:
    """Write all pages and the picture again."""
    from docs.draw_graph import draw

    for path in PAGES:
        page = path.read_text()
        if (new := regenerated(page)) != page:
            path.write_text(new)
            print(f"{path.relative_to(DOCS.parent)} was stale")
    PICTURE.write_text(draw())


if __name__ == "__main__":
    main()
