"""A file to start from: every key of a configuration with its description, from the class's own docstrings.

Keys with a default are commented out (`#key: default`), prose is behind `# `.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from pipeline.configuration.yaml_file import section_of

WIDTH = 100
"""Most characters in a line of prose."""


def template_lines(model: type[BaseModel], values: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Yield the lines of a file; `values` are of keys that are to be set, by their own name."""
    indent = "  " * depth
    for name, field in model.model_fields.items():
        section = section_of(model, name)
        if depth == 0 or section is not None:
            yield ""
        prose = " ".join((field.description or "").split())
        yield from textwrap.wrap(
            prose,
            WIDTH,
            initial_indent=f"{indent}# ",
            subsequent_indent=f"{indent}# ",
            break_on_hyphens=False,
        )
        if section is not None:
            yield f"{indent}{name}:"
            yield from template_lines(section, values, depth + 1)
        elif name in values:
            yield f"{indent}{name}: {values[name]}"
        else:
            yield f"{indent}#{name}: {_written(field.default)}".rstrip()


def _written(default: Any) -> str:
    """Write a default as YAML; nothing for one that is computed later, which an empty value means too."""
    if default is None:
        return ""
    value = list(default) if isinstance(default, tuple) else default
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()
