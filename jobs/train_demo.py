"""Retrain the built-in model, its transcoders and its card from a seed.

Takes some six minutes. Writes a folder like `pipeline/demo/files`: `model/`,
`transcoders/`, `prompts.parquet`, `card.json` and `card.md`. Use it in a sweep by its path:
`model: FOLDER/model`, `transcoders: FOLDER/transcoders`, `prompts: FOLDER/prompts.parquet`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobs._command_line import parse
from jobs.cli import run_command

if TYPE_CHECKING:
    from pipeline.demo import Measurements, Recipe

THREADS = 1
"""Threads of the training: the same everywhere, as their number changes the last bits of sums. One, because
a second gains little on matrices this small and loses much where it has to wait for a busy core."""


@dataclass(frozen=True)
class Options:
    """Arguments of the command line."""

    output: Path = Path("runs/demo-model")
    """Folder for the files; what it holds under their names is replaced."""

    seed: int = 0
    """Seed of weights, order of the data and choice of prompts. The files that ship have 0."""

    steps: int | None = None
    """Steps of the model, and of each transcoder; fewer give a quick trial of a changed recipe."""

    traced_prompts: int | None = None
    """Built-in prompts to trace for the graph scores; (default: all)."""


def main(argv: list[str] | None = None) -> int:
    """Train, save, measure and print."""
    options = parse(Options, argv, "train-demo", __doc__)
    recipe = _recipe(options)
    import torch
    from transformers.utils import logging

    from jobs._stages import stage_bars
    from pipeline.demo import build

    torch.set_num_threads(THREADS)
    logging.disable_progress_bar()
    with stage_bars() as progress:
        found = build(options.output, recipe, progress)
    _print(found, options.output)
    return 0


def _recipe(options: Options) -> Recipe:
    from pipeline.demo import ModelTraining, Recipe, transcoders_of
    from pipeline.errors import ConfigurationError

    for name, value in (("steps", options.steps), ("traced-prompts", options.traced_prompts)):
        if value is not None and value < 1:
            raise ConfigurationError(f"--{name} is {value}; it must be at least 1.")
    model, transcoders = ModelTraining(), transcoders_of()
    if options.steps is not None:
        model = ModelTraining(steps=options.steps)
        transcoders = transcoders_of(tokens=options.steps * transcoders.batch_size)
    return Recipe(options.seed, model, transcoders, options.traced_prompts)


def _print(found: Measurements, folder: Path) -> None:
    from rich.table import Table

    from pipeline.demo import accuracy_rows, graph_rows, layer_rows
    from pipeline.untrusted import Console

    console = Console()
    for title, (heading, rows) in {
        "Accuracy": accuracy_rows(found),
        "Transcoders": layer_rows(found),
        "Graphs (medians over the built-in prompts)": graph_rows(found),
    }.items():
        table = Table(heading[0], title=title, title_justify="left")
        for name in heading[1:]:
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    console.print(f"{size / 1e6:.1f} MB in {folder}; the card is {folder / 'card.md'}")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
