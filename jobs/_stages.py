"""Progress bars of the stages in which the built-in models are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stage_bars() -> Iterator[Callable[[str, int], Callable[[], None]]]:
    """Yield what begins a stage: given its name and steps, it returns what is called once a step."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:

        def stage(name: str, steps: int) -> Callable[[], None]:
            task = bar.add_task(name, total=steps)
            return lambda: bar.advance(task)

        yield stage
