"""Have a language model of your choice name features, and score its labels on contexts that it was not shown.

Nothing is sent unless you name a server: any that speaks OpenAI's chat completions (`--endpoint`). To it, and
to nobody else, go the strongest contexts of each feature: tokens of your prompts. Then each label is tried on
other prompts: does it tell contexts in which the feature is active from others, better than the label of
another feature does? Labels that do not are kept and marked. Start it again to go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from jobs._command_line import parse
from jobs.cli import run_command
from pipeline.errors import ConfigurationError
from pipeline.features import parse_feature

if TYPE_CHECKING:
    from pipeline.labels import Endpoint, LabelPlan
    from pipeline.results import Results
    from pipeline.untrusted import Console

SHOWN = 15
"""Labels that the report shows."""

SCORED = """
    select members[1], text, score, score_low, score_high, control, beats_control from labels
    where source = $source and p_value is not null order by score - control desc, members[1]
"""


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    output: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep: a folder or an `s3://` URL."""

    endpoint: str
    """Address of the server up to the version, such as `http://localhost:8000/v1`."""

    model: str
    """Name of the model there."""

    key_variable: str | None = None
    """Environment variable that holds the server's key (default: no key is sent)."""

    features: tuple[str, ...] = ()
    """Features to label, such as `2/350` (default: those of most influence, --top of them)."""

    top: int = 50
    """Features to label."""

    cluster: str | None = None
    """Column of `graphs` whose values are kept together: a label made from one prompt of a cluster is not
    tried on another (default: prompts of the same tokens)."""

    parallel: int = 4
    """Requests at once."""

    dry_run: bool = False
    """Say what would be sent, show the first request, and send nothing."""


def main(argv: list[str] | None = None) -> int:
    """Label, score, print the report, and return 0."""
    arguments = parse(Arguments, argv, "label", __doc__)
    for name in ("top", "parallel"):
        if getattr(arguments, name) < 1:
            raise ConfigurationError(f"--{name} is {getattr(arguments, name)}; it must be at least 1.")

    from pipeline.labels import Endpoint, make_labels, plan_labels
    from pipeline.results import Results
    from pipeline.untrusted import Console

    console = Console(highlight=False)
    endpoint = Endpoint(arguments.endpoint, arguments.model, arguments.key_variable)
    results = Results(arguments.output)
    features = [parse_feature(name, "refused") for name in arguments.features]
    plan = plan_labels(results, endpoint.source, features, arguments.top, arguments.cluster)
    _announce(console, plan, endpoint)
    if arguments.dry_run:
        console.print("nothing was sent. The first request would be:", soft_wrap=True)
        console.print(plan.first_question() or "none: all is done", soft_wrap=True)
        return 0
    with console.status("") as status:
        report = make_labels(results, plan, endpoint, arguments.parallel, status.update)
    unreadable = f"; {report.unreadable:,} answers held none" if report.unreadable else ""
    console.print(f"{report.labelled:,} features labelled, {report.scored:,} labels scored{unreadable}")
    _print_scores(console, Results(results.output), endpoint.source)
    return 0


def _announce(console: Console, plan: LabelPlan, endpoint: Endpoint) -> None:
    """Say what will be sent, to whom, before it is."""
    console.print(
        f"{plan.requests:,} requests to {endpoint.url} (model {endpoint.model}): {len(plan.to_label):,} "
        f"features to label from contexts in your prompts, {len(plan.to_score):,} labels to try twice on "
        f"held-out contexts. A request that meets a busy server is sent again, at most 5 times in all.",
        soft_wrap=True,
    )
    for count, what in (
        (plan.without_examples, "are active on no prompt that may be shown, and are left out"),
        (plan.cannot_be_scored, "are active, or silent, on too few held-out prompts: labelled, not scored"),
    ):
        if count:
            console.print(f"{count:,} features {what}", soft_wrap=True)


def _print_scores(console: Console, results: Results, source: str) -> None:
    from rich.table import Table

    if "labels" not in results.tables:
        return
    rows = results.sql(SCORED, {"source": source}).fetchall()
    if not rows:
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("feature", "label", "balanced accuracy", "another's label", "beats it"):
        table.add_column(name, justify="left" if name in ("feature", "label") else "right")
    for name, text, score, low, high, control, beats in rows[:SHOWN]:
        verdict = "yes" if beats else "no"
        table.add_row(name, text, f"{score:.2f} ({low:.2f}..{high:.2f})", f"{control:.2f}", verdict)
    console.print(table)
    passed = sum(row[-1] for row in rows)
    console.print(
        f"{passed:,} of {len(rows):,} labels tell active from inactive contexts better than another "
        "feature's label (at most 5% of these by chance); the others are kept and shown as unproven",
        soft_wrap=True,
    )


if __name__ == "__main__":
    raise SystemExit(run_command(main))
