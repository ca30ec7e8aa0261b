"""Summarise a sweep at its end: counts, costs, scores, failures, what to ask next.

Counts of this start come from the driver, everything else from the committed tables and their markers, so
that it also holds for a sweep of many starts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from shlex import quote

from rich.text import Text

from pipeline.readable import clock, readable_bytes
from pipeline.runtime import RunReport
from pipeline.seconds import NO_SECONDS
from pipeline.store import Output
from pipeline.untrusted import Console, printable

FAILURES_SHOWN = 5

REPEATS_SHOWN = 5

NAME_WIDTH = 24

SCORES = """
    select count(*), median(replacement_score), median(completeness_score), median(active_features),
        avg(seconds_model), avg(seconds_rows), avg(seconds_pruning)
    from graphs
"""

QUESTION = (
    "select source_layer, source_feature, count(distinct prompt_key) as prompts, sum(influence) as influence "
    "from edges where source_kind = 'feature' group by all order by influence desc limit 10"
)
"""The question that a new user is shown: which features matter most over all prompts."""


def print_summary(console: Console, output: Output, report: RunReport, program: str) -> None:
    """Print how the sweep went and what the output holds now; `program` is what starts a command."""
    for name, value in (*_counts(report), *_contents(output)):
        # Lines as they are, for logs: a table would be folded to a width that a log does not have.
        console.print(Text.assemble((f"{name:<{NAME_WIDTH}}", "bold"), value), soft_wrap=True)
    _print_failures(console, output, report)
    if not any(marker.rows.get("graphs") for marker in output.committed()):
        console.print("\nNo prompt has a graph, so there is nothing to ask yet.", highlight=False)
        return
    console.print("\nLook at it in a browser:", highlight=False)
    console.file.write(f"  {program} view {quote(output.url)}\n")
    console.print("\nAsk the tables, for example for the features that matter most:", highlight=False)
    # Not through the console: a line to copy must not be wrapped.
    console.file.write(f"  {query_command(program, output.url, QUESTION)}\n")


def query_command(program: str, url: str, question: str) -> str:
    """Return the shell line that asks the output a question in SQL."""
    # In double quotes, since SQL is full of single ones.
    return f"{program} query {quote(url)} " + '"' + re.sub(r'([\\"$`])', r"\\\1", question) + '"'


def _counts(report: RunReport) -> Iterator[tuple[str, str]]:
    seconds = (report.finished - report.started).total_seconds()
    counts = report.counts
    yield "prompts", f"{counts.read:,}"
    yield "traced", f"{counts.done:,} in {clock(seconds)}"
    if counts.already_done:
        yield "done before", f"{counts.already_done:,}"
    if counts.repeated:
        named = _first(report.repeated_keys)
        yield "repeated", f"{counts.repeated:,} with the tokens of an earlier one: {named}"
    if counts.same_id:
        yield "same id", f"{shared(counts.same_id, report.shared_ids)}; `show` takes the first"
    yield "failed", f"{counts.all_failed:,}"
    yield "new", f"{counts.new:,}: {counts.done:,} graphs, {counts.failed:,} failed"
    named = (f"{table} {version}" for table, version in report.published.items())
    yield "new versions", ", ".join(named) or "none"


def shared(count: int, ids: Mapping[str, int]) -> str:
    """Say how many prompts have the id of an earlier, different one, and name the first ids."""
    named = _first(
        [f"{name} ({prompts} prompts)" for name, prompts in islice(ids.items(), REPEATS_SHOWN + 1)]
    )
    return f"{count:,} with the id of an earlier, different prompt: {named}"


def _first(ids: Collection[str]) -> str:
    named = ", ".join(islice(ids, REPEATS_SHOWN))
    return named if len(ids) <= REPEATS_SHOWN else f"{named}, ..."


def _contents(output: Output) -> Iterator[tuple[str, str]]:
    rows, size, seconds = Counter(), Counter(), NO_SECONDS
    for marker in output.committed():
        rows.update(marker.rows)
        size.update(marker.bytes)
        seconds += marker.seconds
    if not rows["graphs"]:
        return
    count, replacement, completeness, active, *phases = output.duckdb().sql(SCORES).fetchall()[0]
    yield "graphs", f"{count:,} in {output.url}"
    each = size["edges"] / max(rows["edges"], 1)
    yield "edges", f"{rows['edges']:,} in {readable_bytes(size['edges'])}, {each:.1f} bytes each"
    yield "all tables", readable_bytes(size.total())
    yield "median scores", f"replacement {replacement:.3f}, completeness {completeness:.3f}"
    # Scores of a graph without features are high: all is explained by errors and tokens.
    hint = "" if active else ": the dictionary finds nothing. `circuit-sweep check` says if its hook is right"
    yield "median active features", f"{active:,.0f}{hint}"
    writing = (seconds.tables + seconds.writing) / count
    named = zip(("model", "rows", "pruning", "writing"), (*phases, writing), strict=True)
    yield "seconds a prompt", ", ".join(f"{name} {value:.3f}" for name, value in named)


def _print_failures(console: Console, output: Output, report: RunReport) -> None:
    if not report.counts.all_failed:
        return
    columns = ["id", "stage", "error_class", "message"]
    failures = output.dataset("failures").head(FAILURES_SHOWN, columns=columns).to_pylist()
    console.print(f"\nThe first {len(failures)} failed prompts (all are in the table `failures`):")
    for failure in failures:
        shown = {name: printable(value, lines=False) for name, value in failure.items()}
        line = "  {id} ({stage}): {error_class}: {message}".format(**shown)
        console.print(line, highlight=False, markup=False, soft_wrap=True)
