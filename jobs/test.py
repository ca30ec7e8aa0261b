"""Test a hypothesis of yours: chosen features, on chosen prompts, beside sets that could have been chosen.

The chosen features are multiplied (ablated by default), set to a value, or swapped for others, and the fall
of a logit difference is compared with that of matched random sets, of any active features, of the largest
ones and of random ones. Prompts of one cluster count as one observation. Queries are SQL over the tables of
the sweep.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jobs._command_line import parse
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command
from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pipeline.untrusted import Console
    from pipeline.validation import GroupVerdict, Hypothesis, Mean, PromptOutcome


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep: a folder or an `s3://` URL."""

    features: str
    """Query that gives `layer` and `feature`, with `prompt_key` or `id` for one prompt's own, with `position`
    (from the end if negative) for one position."""

    prompts: str
    """Query that gives `prompt_key` or `id`; also `prompt_group`, `cluster`, `answer` and `partner` (the
    answer whose logit is subtracted)."""

    swap_from: str | None = None
    """Query that gives features to put in: as for --features, with the `value` to set each to."""

    factor: float | None = None
    """Multiple of their activation that the features are set to (default: 0)."""

    value: float | None = None
    """Activation that they are set to instead."""

    mode: Literal["default", "open", "replacement"] = "default"
    """`default` holds attention patterns, `open` holds nothing, `replacement` has the dictionary in place of
    the MLPs."""

    draws: int = 99
    """Random sets of each kind. The smallest p-value is 2 / (draws + 1): to show an effect of one group alone
    among n takes 40 n - 1 draws."""

    seed: int = 0
    """Seed of the random sets."""

    of: Literal["groups", "prompts"] = "groups"
    """Rows to write with --format or --output: verdicts by group, or every prompt's own numbers."""

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings, if the sweep did."""

    rows: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)


def main(argv: list[str] | None = None) -> int:
    """Test the hypothesis and return 0."""
    arguments = parse(Arguments, argv, "test", __doc__)
    if arguments.draws < 39:
        raise ConfigurationError(
            f"--draws is {arguments.draws}; it must be at least 39, or nothing could reach a p-value of 0.05."
        )

    from pipeline.results import Results
    from pipeline.untrusted import Console
    from pipeline.validation import group_rows, prompt_rows, read_hypothesis, verdicts

    results = Results(arguments.source)
    hypothesis = read_hypothesis(
        results,
        arguments.features,
        arguments.prompts,
        arguments.swap_from,
        arguments.factor,
        arguments.value,
    )
    outcomes, left_out = _run(arguments, results, hypothesis)
    if not outcomes:
        raise ConfigurationError(
            "--features: none of them is active on any of the prompts; see where they are in `activations`."
        )
    found = verdicts(outcomes, left_out)
    if arguments.rows.given:
        write_rows(group_rows(found) if arguments.of == "groups" else prompt_rows(outcomes), arguments.rows)
        return 0
    console = Console(highlight=False)
    for verdict in found:
        _print(console, verdict)
    for paragraph in LEGEND:
        console.print(paragraph)
    return 0


def _run(
    arguments: Arguments, results: Results, hypothesis: Hypothesis
) -> tuple[list[PromptOutcome], dict[str, int]]:
    """Return the outcomes, and how many prompts of each group have none."""
    from rich.progress import track

    from pipeline.intervention import DEFAULT, OPEN, REPLACEMENT
    from pipeline.sweep_model import recorded_model
    from pipeline.untrusted import Console
    from pipeline.validation import run_hypothesis

    model = recorded_model(results.output, arguments.trust_remote_code).load()
    mode = {"default": DEFAULT, "open": OPEN, "replacement": REPLACEMENT}[arguments.mode]
    outcomes, left_out = [], Counter()
    tested = run_hypothesis(model, hypothesis, mode, arguments.draws, arguments.seed)
    prompts = track(
        hypothesis.prompts, "prompts", console=Console(stderr=True), transient=True, disable=False
    )
    for prompt, outcome in zip(prompts, tested, strict=True):
        if outcome is None:
            left_out[prompt.group] += 1
        else:
            outcomes.append(outcome)
    return outcomes, dict(left_out)


def _print(console: Console, verdict: GroupVerdict) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from pipeline.validation import verdict_sentences

    about = (
        f"{verdict.prompts:,} prompts in {verdict.clusters:,} clusters, {verdict.features:g} features each"
    )
    console.print(Text(f"{verdict.group}: {about}", "bold"))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("changed", "effect", "interval", "chosen - it", "p", "size", "flipped", "moved"):
        table.add_column(heading, justify="left" if heading == "changed" else "right", no_wrap=True)
    shares = (f"{verdict.flipped:.0%}", f"{verdict.moved:.0%}")
    table.add_row("chosen", *_mean(verdict.effect), "", "", "", *shares)
    for name, kind in verdict.kinds.items():
        p, size = ("" if number is None else f"{number:.2f}" for number in (kind.p_value, kind.size_ratio))
        more = _mean(kind.more)[1]
        table.add_row(name, *_mean(kind.effect), more, p, size, f"{kind.flipped:.0%}", f"{kind.moved:.0%}")
    for dose, effect in verdict.doses.items():
        table.add_row(f"dose {dose:g}", *_mean(effect))
    console.print(table)
    for sentence in verdict_sentences(verdict):
        console.print(Padding(Text(sentence), (0, 0, 0, 2)))
    console.print()


def _mean(mean: Mean) -> tuple[str, str]:
    interval = "1 cluster" if mean.low is None else f"{mean.low:.2f}..{mean.high:.2f}"
    return f"{mean.value:.2f}", interval


LEGEND = (
    "effect: fall of the answer's logit less the rival's (the partner, else the runner-up); means over "
    "clusters with 95% intervals. chosen - it: by how much the chosen features' effect exceeds this one, "
    "prompt by prompt. p: of the chosen effect among the draws. size: summed write norm, |activation| x "
    "|decoder|, over that of the chosen features. moved: likeliest token becomes the rival.",
    "matched: other features of the same layers and positions that write as much. active: any active "
    "features, as much in sum. largest: as many that write most. random: as many, any. mixed: features put "
    "in on other prompts. Draws name the same features on every prompt. dose: factor of the activation, or "
    "multiple of the values.",
)

if __name__ == "__main__":
    raise SystemExit(run_command(main))
