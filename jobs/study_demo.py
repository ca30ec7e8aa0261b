"""Study the built-in model's features of states in a sweep over its own prompts.

Finds features that are selective for a state by SQL over the sweep's tables, then ablates and swaps them in
the model on the held-out two-hop prompts. One row for each share of other states' prompts on which such a
feature may be active.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from jobs._command_line import parse
from jobs.cli import run_command

if TYPE_CHECKING:
    from pipeline.demo import Ablation, Study, Swap


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    output: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of `circuit-sweep run pipeline/demo/sweep.yaml`."""

    mode: Literal["default", "open"] = "default"
    """`default` holds attention patterns, `open` holds nothing."""

    seed: int = 0
    """Seed of the random sets and of the states swapped in."""


def main(argv: list[str] | None = None) -> int:
    """Print the study and return 0."""
    arguments = parse(Arguments, argv, "study-demo", __doc__)

    from pipeline import ReplacementModel
    from pipeline.builtin import NAME
    from pipeline.demo import SHARES, Study, ablate_states, swap_states
    from pipeline.intervention import DEFAULT, OPEN
    from pipeline.store import Output

    output = Output(arguments.output)
    output.claimed()
    model = ReplacementModel.from_pretrained(NAME, transcoders=NAME)
    mode = OPEN if arguments.mode == "open" else DEFAULT
    columns = []
    for share in SHARES:
        study = Study.of(model, output, share)
        found = ablate_states(study, mode, seed=arguments.seed), swap_states(study, mode, arguments.seed)
        columns.append((f"{share:.0%}", _column(study, *found)))
    _print(columns)
    return 0


def _column(study: Study, ablations: list[Ablation], swaps: list[Swap]) -> dict[str, str]:
    """Return one strictness's figures by name."""
    import numpy as np

    def share(values: list[bool]) -> str:
        return f"{np.mean(values):.0%}"

    return {
        "states with a feature, by layer": " ".join(map(str, study.states_by_layer())),
        "features ablated, median": f"{np.median([a.features for a in ablations]):g}",
        "fall of the capital's logit, median": f"{np.median([a.drop for a in ablations]):.2f}",
        "  of matched random sets": f"{np.median([np.median(a.null) for a in ablations]):.2f}",
        "  their activation, of ours": f"{np.median([a.size_ratio for a in ablations]):.2f}",
        "more than the sets' median": share([a.above_null for a in ablations]),
        "more than every set": share([a.above_all for a in ablations]),
        "answer flipped by ablation": share([a.flipped for a in ablations]),
        **{f"moved by a swap, {way}": share([s.moved[way] for s in swaps]) for way in swaps[0].moved},
        "prompts": f"{len(ablations)} and {len(swaps)}",
    }


def _print(columns: list[tuple[str, dict[str, str]]]) -> None:
    from rich.table import Table

    from pipeline.untrusted import Console

    table = Table()
    table.add_column("active elsewhere at most", no_wrap=True)
    for name, _ in columns:
        table.add_column(name, justify="right")
    for figure in columns[0][1]:
        table.add_row(figure, *(column[figure] for _, column in columns))
    Console(width=None if sys.stdout.isatty() else 120).print(table)  # a pipe has no width


if __name__ == "__main__":
    raise SystemExit(run_command(main))
