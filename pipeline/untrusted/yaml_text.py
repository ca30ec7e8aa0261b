"""YAML that anybody may have written: plain values, no aliases.

A few hundred bytes of aliases to aliases stand for billions of values; whoever walks or prints them never
ends. No file of ours needs one, so all are refused.
"""

from __future__ import annotations

from typing import Any

import yaml

YAML_BYTES = 256 << 10
"""Largest YAML file that is read: the parser takes seconds a megabyte, and for some numbers much longer."""


class PlainYaml(yaml.SafeLoader):
    """The safe loader of PyYAML without aliases."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: D102
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(
                None,
                None,
                f"*{event.anchor} is an alias, and aliases are not read: write the value out",
                event.start_mark,
            )
        return super().compose_node(parent, index)


def parse_yaml(text: str | bytes) -> tuple[Any, yaml.Node | None]:
    """Parse one document into its value, and the nodes that know the lines.

    Raises:
        yaml.YAMLError: it is no YAML, holds aliases, tags or impossible values, or is too large or too deep.

    """
    if len(text) > YAML_BYTES:
        raise yaml.YAMLError(f"it is larger than {YAML_BYTES:,} bytes")
    try:
        loader = PlainYaml(text)
        node = loader.get_single_node()
        return None if node is None else loader.construct_document(node), node
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # a date in month 13, a number of 5,000 digits
        raise yaml.YAMLError(str(error)) from error
