"""A sweep file to start from: every key with its description, made from the configuration's own docstrings.

It runs as it is, on the built-in model and prompts. Keys with a default are commented out (`#key: default`),
prose is behind `# `.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel

from pipeline.builtin import NAME
from pipeline.configuration import section_of
from pipeline.sweep.config import SweepConfig

WIDTH = 100
"""Most characters in a line of prose."""

HEADER = """\
# A sweep: a dataset of prompts, traced into tables of attribution graphs.
#
#   circuit-sweep plan {path}    estimates what it takes
#   circuit-sweep run {path}     runs it, or what is left of it
#
# As it stands it traces the built-in model on its own prompts: replace `demo` by your names.
# A line that begins with # and a key shows a default: take the # away to change it.
"""


def template(path: str, output: str) -> str:
    """Return the text of a sweep file.

    Args:
        path: name of the file, for the commands that its head shows.
        output: folder or URL that the sweep writes to.

    """
    values = {"model": NAME, "transcoders": NAME, "source": NAME, "output": output}
    return HEADER.format(path=path) + "\n".join(_lines(SweepConfig, values, 0)) + "\n"


def _lines(model: type[BaseModel], values: dict[str, str], depth: int) -> Iterator[str]:
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
            yield from _lines(section, values, depth + 1)
        elif field.is_required():
            yield f"{indent}{name}: {values[name]}"
        else:
            yield f"{indent}#{name}: {_written(field.default)}".rstrip()


def _written(default: Any) -> str:
    """Write a default as YAML; nothing for one that is computed later, which an empty value means too."""
    if default is None:
        return ""
    value = list(default) if isinstance(default, tuple) else default
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()
