"""The console of every command: foreign text is shown, and does nothing else.

All that a command prints through rich comes by here, whatever table or bar it stands in, as text apart from
its style: what would act on a terminal in the text itself is none of ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import console as rich_console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from pipeline.untrusted.terminal import printable


class Console(rich_console.Console):
    """A rich console that shows control characters as escapes, and brackets as brackets."""

    def __init__(self, *arguments: Any, markup: bool = False, **options: Any) -> None:
        # Tokens such as `[/INST]` and columns of users' stand in cells of tables: they are no markup.
        super().__init__(*arguments, markup=markup, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:  # noqa: D102
        for segment in super().render(renderable, options):
            # Segments of control are rich's own: they move the cursor of a bar.
            yield segment if segment.control else segment._replace(text=printable(segment.text))
