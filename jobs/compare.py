"""Compare two models by their sweeps of one dataset: answers, graphs, features and edges, by family.

Small against large, before and after a fine-tuning, teacher and student. `--output` writes a page for
somebody who has to decide: is B enough for these families, where would one train it further, and what else
moved. Features are compared by index where both have one dictionary, else through a match. `--repeat` takes
sweeps of models that differ from A by nothing of interest (another seed, the same fine-tuning on nothing
new): what they differ by is what counts for nothing. Exit code 0, whatever is found: it is no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jobs._command_line import parse
from jobs._tables import writable
from jobs.cli import run_command
from pipeline.errors import ConfigurationError


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    a: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """Output of the first model's sweep: the large one, the teacher, or the one before."""

    b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """Output of the second model's."""

    by: str | None = None
    """Families: a column of A's `graphs`, or an SQL expression over them (default: all prompts together)."""

    cluster: str | None = None
    """Clusters, which count once: a column of A's `graphs`, or SQL (default: prompts of the same tokens)."""

    answer: str = "answer"
    """Column of `graphs` with the right answer, or a list of several."""

    repeat: tuple[str, ...] = ()
    """Sweeps of models that equal A but for what means nothing: they set the least difference that counts."""

    min_correlation: float = 0.5
    """With different dictionaries: least correlation of a match."""

    run_model: bool = True
    """With different dictionaries: run B's model with random ones, to say what a match is worth."""

    output: Path | None = None
    """Page to write, .html or .md (default: the report on the screen)."""

    tables: str | None = None
    """Folder or `s3://` URL that receives the tables `compare_*`, a Parquet file each."""


def main(argv: list[str] | None = None) -> int:
    """Compare, write or print the report, and return 0."""
    arguments = parse(Arguments, argv, "compare", __doc__)

    from pipeline.compare import PairedSweep
    from pipeline.compare.models import compare_models, model_page, write_model_tables
    from pipeline.store import Output
    from pipeline.untrusted import Console

    if arguments.output is not None and arguments.output.suffix not in (".html", ".md"):
        raise ConfigurationError(f"--output {arguments.output}: a report is .html or .md.")
    a, b, *repeats = (PairedSweep(Output(url)) for url in (arguments.a, arguments.b, *arguments.repeat))
    for sweep in (a, b, *repeats):
        sweep.output.claimed()  # that there is none is said before anything of its columns
    if not 0 <= arguments.min_correlation <= 1:
        raise ConfigurationError(f"--min-correlation is {arguments.min_correlation}; it must be 0 to 1.")
    found = compare_models(
        a,
        b,
        arguments.by,
        arguments.cluster,
        arguments.answer,
        repeats,
        arguments.min_correlation,
        arguments.run_model,
    )
    console = Console(highlight=False)
    page = model_page(found)
    if arguments.tables is not None:
        write_model_tables(found, arguments.tables)
    if arguments.output is not None:
        with writable(arguments.output):
            page.write(arguments.output)
        console.print(f"{arguments.output}", soft_wrap=True)
    else:
        page.print(console)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
