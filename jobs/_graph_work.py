"""How `validate` and `pairs` check their arguments, work on the graphs of a sweep, and say what was done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from jobs._command_line import parse
from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pipeline.runtime import RunReport
    from pipeline.untrusted import Console

FINISHED, INTERRUPTED = 0, 130

Arguments = TypeVar("Arguments")


def parse_checked(kind: type[Arguments], argv: list[str] | None, command: str, text: str | None) -> Arguments:
    """Parse the command line of a command whose options check themselves.

    Raises:
        ConfigurationError: an option has a value that it may not have.

    """
    try:
        return parse(kind, argv, command, text)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"])).replace("_", "-")
        raise ConfigurationError(f"--{name} is {problem['input']!r}: {problem['msg']}.") from error


def work_on_graphs(
    work: Callable[..., RunReport], arguments: Any, console: Console, things: str, verb: str
) -> RunReport | None:
    """Do the work, say how much was done, and return the report; None where Ctrl-C ended it.

    Args:
        work: what is done with the sweep that the arguments name.
        arguments: of the command.
        console: where progress is shown.
        things: what is counted, such as `graphs`.
        verb: what is done with them, such as `tested`.

    """
    from pipeline.readable import clock
    from pipeline.runtime.telemetry import Progress

    progress = Progress(console)
    try:
        report = work(
            arguments.source,
            arguments.config,
            progress,
            arguments.workers,
            arguments.address,
            arguments.trust_remote_code,
            arguments.lazy_encoder,
        )
    except KeyboardInterrupt:
        done = progress.counts.done
        console.print(f"interrupted after {done} {things}, which are kept: start it again.")
        return None
    seconds = (report.finished - report.started).total_seconds()
    counts = report.counts
    before = f", {counts.passed_over:,} before" if counts.passed_over else ""
    console.print(f"{counts.done:,} {things} {verb} in {clock(seconds)}{before}, {counts.failed:,} failed")
    return report
